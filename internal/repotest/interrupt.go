package repotest

import (
	"fmt"
	"go/ast"
	"path"
	"path/filepath"
)

// Interrupts lists the statements of p that change the metadata and take a context: when
// it ends, SQLite undoes the whole transaction, which is other callers' too. The store
// itself may: its own transactions are nobody else's.
func Interrupts(p Package) []string {
	var out []string
	if p.Dir == "storage/meta" {
		return nil
	}
	for _, f := range p.Files {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			s, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || s.Sel.Name != "ExecContext" {
				return true
			}
			at := p.Fset.Position(call.Pos())
			out = append(out, fmt.Sprintf("%s:%d: ExecContext: a caller who leaves undoes the writes of others; use Exec", path.Join(p.Dir, filepath.Base(at.Filename)), at.Line))
			return true
		})
	}
	return out
}
