package repotest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Module is the import path that every package of the project begins with.
const Module = "penstock"

// floors says on which floor a folder stands. A package may import lower floors, and
// its own room (the folder named here and what is under it), nothing else.
var floors = map[string]int{
	"internal":   0,
	"media":      1,
	"storage":    1,
	"wire":       1,
	"fragments":  2,
	"records":    2,
	"producer":   2,
	"auth":       2,
	"streams":    3,
	"ingest":     4,
	"playback":   4,
	"consumers":  4,
	"delivery":   4,
	"analytics":  4,
	"api":        5,
	"web":        5,
	"cmd":        6,
	"bench":      6,
	"acceptance": 6,
}

// Package is the non-test source of one folder.
type Package struct {
	Dir   string // slash-separated, from the module's root
	Fset  *token.FileSet
	Files []*ast.File
}

// Root returns the folder that holds go.mod.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

// Load parses every package of the module that is rooted at root.
func Load(root string) ([]Package, error) {
	var out []Package
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if base := d.Name(); name != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules") {
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		p := Package{Dir: filepath.ToSlash(rel), Fset: token.NewFileSet()}
		files, err := filepath.Glob(filepath.Join(name, "*.go"))
		if err != nil {
			return err
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			tree, err := parser.ParseFile(p.Fset, f, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			p.Files = append(p.Files, tree)
		}
		if len(p.Files) > 0 {
			out = append(out, p)
		}
		return nil
	})
	return out, err
}

// Climbs lists the imports of p that go up a floor, or sideways into another room.
func Climbs(p Package) []string {
	room, _, _ := strings.Cut(p.Dir, "/")
	floor, ok := floors[room]
	if !ok {
		return []string{p.Dir + " stands on no floor: give it one in floors, and in docs/design/layout.md"}
	}
	var out []string
	for _, f := range p.Files {
		for _, im := range f.Imports {
			target, err := strconv.Unquote(im.Path.Value)
			if err != nil || !strings.HasPrefix(target, Module+"/") {
				continue
			}
			other, _, _ := strings.Cut(strings.TrimPrefix(target, Module+"/"), "/")
			if other != room && floors[other] >= floor {
				out = append(out, fmt.Sprintf("%s (floor %d) imports %s (floor %d)", p.Dir, floor, target, floors[other]))
			}
		}
	}
	return out
}

// Undocumented lists what p exports without saying what it is for.
func Undocumented(p Package) []string {
	var out []string
	say := func(pos token.Pos, what string) {
		at := p.Fset.Position(pos)
		out = append(out, fmt.Sprintf("%s:%d: %s has no doc comment", path.Join(p.Dir, filepath.Base(at.Filename)), at.Line, what))
	}
	if !packageDoc(p) {
		say(p.Files[0].Package, "package "+p.Files[0].Name.Name)
	}
	if p.Files[0].Name.Name == "main" {
		return out
	}
	for _, f := range p.Files {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
					say(d.Pos(), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					undocumentedSpec(d, s, say)
				}
			}
		}
	}
	return out
}

func packageDoc(p Package) bool {
	for _, f := range p.Files {
		if f.Doc != nil {
			return true
		}
	}
	return false
}

func undocumentedSpec(d *ast.GenDecl, s ast.Spec, say func(token.Pos, string)) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
			say(s.Pos(), s.Name.Name)
		}
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				say(n.Pos(), n.Name)
			}
		}
	}
}

// exportedReceiver reports whether d is a function, or a method of an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}
