package awsjson

// nodeKind is what a value of a body is, before anybody asks what it should be.
type nodeKind uint8

const (
	nodeNull nodeKind = iota
	nodeBool
	nodeNumber
	nodeString
	nodeBytes // CBOR only
	nodeTime  // CBOR only: tag 1 over a number
	nodeList
	nodeMap
)

// node is a value of a body: what the exact way works on.
type node struct {
	kind  nodeKind
	truth bool
	whole bool    // a number without fraction and exponent that fits in an int64
	num   int64   // of a whole number
	float float64 // of every number
	text  string
	bytes []byte
	list  []node
	keys  []string // of a map, in the body's order; the last of equal ones counts
}

// member returns the last value of a map's key.
func (n *node) member(key string) *node {
	for i := len(n.keys) - 1; i >= 0; i-- {
		if n.keys[i] == key {
			return &n.list[i]
		}
	}
	return nil
}

// unite drops all but the last of a map's equal keys.
func (n *node) unite() {
	last := make(map[string]int, len(n.keys))
	for i, k := range n.keys {
		last[k] = i
	}
	if len(last) == len(n.keys) {
		return
	}
	kept := 0
	for i, k := range n.keys {
		if last[k] == i {
			n.keys[kept], n.list[kept] = k, n.list[i]
			kept++
		}
	}
	n.keys, n.list = n.keys[:kept], n.list[:kept]
}

// depthMax bounds how deep lists and maps may lie in each other: the model's deepest
// inputs need 8, members unknown to the model may be deeper.
const depthMax = 100
