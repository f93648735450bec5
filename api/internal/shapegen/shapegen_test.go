package main

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// committed names the packages that are made here.
func committed() map[string]string {
	return map[string]string{"../../models/kinesis.json": "../../kinesis/shape"}
}

func TestWhatIsCommittedIsWhatIsGenerated(t *testing.T) {
	for path, dir := range committed() {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files, err := Generate(data, filepath.Base(path), filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range files {
			got, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s/%s is not what the generator writes: run go generate ./api/...", dir, name)
			}
		}
	}
}

// A model with what that of Kinesis has not, as those of Firehose and Kinesis Video do.
const other = `{"metadata":{"targetPrefix":"Other_1","endpointPrefix":"other","serviceFullName":"Other"},
"operations":{"Put":{"input":{"shape":"PutInput"},"output":{"shape":"PutOutput"},"errors":[{"shape":"Broken"}]},
 "Nothing":{"input":{"shape":"NothingInput"}}},
"shapes":{"PutInput":{"type":"structure","required":["Name"],"members":{"Name":{"shape":"Name"},"Prefix":{"shape":"Prefix"},"Ratio":{"shape":"Ratio"},"Inner":{"shape":"Inner"}}},
"NothingInput":{"type":"structure","members":{}},
"PutOutput":{"type":"structure","required":["At"],"members":{"At":{"shape":"At"},"Inner":{"shape":"Inner"},"List":{"shape":"InnerList"}}},
"Inner":{"type":"structure","members":{"Self":{"shape":"InnerList"},"On":{"shape":"On"}}},"InnerList":{"type":"list","member":{"shape":"Inner"}},
"Name":{"type":"string","min":1},"Prefix":{"type":"string","min":0,"max":10},"Ratio":{"type":"double","min":0,"max":1.0},"At":{"type":"timestamp"},"On":{"type":"boolean"},
"Unused":{"type":"structure","members":{}},"Broken":{"type":"structure","members":{},"exception":true}}}`

func TestOtherModels(t *testing.T) {
	files, err := Generate([]byte(other), "other.json", "other")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if _, err := parser.ParseFile(token.NewFileSet(), name, text, 0); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string][]string{
		"inputs_gen.go":  {"Prefix *string", "Ratio  *float64", "Self []Inner", "On   *bool", "Name   string", "// Inner is in PutInput, in Inner, in PutOutput."},
		"outputs_gen.go": {"At    time.Time // required", "Inner *Inner", "List  []Inner"},
		"model_gen.go":   {`Errors: []string{"Broken"}`, "sInnerList.Elem = sInner", "awsjson.Limit(1)", `Target: "Other_1", Service: "other"`},
	} {
		for _, w := range want {
			if !strings.Contains(string(files[name]), w) {
				t.Errorf("%s has no %q:\n%s", name, w, files[name])
			}
		}
	}
	if strings.Contains(string(files["outputs_gen.go"]), "Unused") {
		t.Error("what no operation reaches is generated")
	}
}

func TestModelsThatAreNotUnderstood(t *testing.T) {
	for name, change := range map[string]string{
		`is a "tensor"`:           `"type":"tensor"`,
		"is a map of Inner":       `"type":"map","key":{"shape":"Name"},"value":{"shape":"Inner"}`,
		"invalid named capture":   `"type":"string","pattern":"(?<!a)*("`,
		"unexpected end of JSON":  "",
		"cannot unmarshal string": `"type":"string","members":"x"`,
	} {
		text := strings.Replace(other, `"type":"boolean"`, change, 1)
		if change == "" {
			text = other[:len(other)-1]
		}
		if _, err := Generate([]byte(text), "other.json", "other"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
