package kinesis

import (
	"strings"
	"unicode"

	"penstock/api/kinesis/shape"
)

// addTagsToStream is KDS AddTagsToStream.
func addTagsToStream(r *request, in *shape.AddTagsToStreamInput) error {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return err
	}
	if err := tagCharacters(tagWords(in.Tags), "add", "to", st.Name(), st.Account()); err != nil {
		return err
	}
	return refused(st.SetTags(r.ctx, in.Tags, nil), st)
}

// tagWords is the keys and values of tags.
func tagWords(tags map[string]string) []string {
	words := make([]string, 0, 2*len(tags))
	for k, v := range tags {
		words = append(words, k, v)
	}
	return words
}

// tagCharacters refuses what may not stand in tags: first what no tag of the service may
// have, then what those of streams may not. Tabs and line breaks are no white space here.
func tagCharacters(words []string, verb, preposition, stream, account string) error {
	const common, special = "_.:/=+-%@", "_.:/=+-@"
	fits := func(word, extra string) bool {
		for _, c := range word {
			if !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.Is(unicode.Zs, c) && !strings.ContainsRune(extra, c) {
				return false
			}
		}
		return true
	}
	for _, w := range words {
		if !fits(w, common) {
			return invalidArgument("Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - %% @.")
		}
	}
	for _, w := range words {
		if !fits(w, special) {
			return invalidArgument("Failed to %s tags %s stream %s under account %s because some tags contained illegal characters. "+
				"The allowed characters are Unicode letters, white-spaces, '_',',','/','=','+','-','@'.", verb, preposition, stream, account)
		}
	}
	return nil
}
