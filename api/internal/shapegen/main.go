// Command shapegen makes Go structs and validation tables from a service model.
//
//	go run penstock/api/internal/shapegen MODEL.json DIRECTORY
//
// It writes inputs_gen.go, outputs_gen.go and model_gen.go for a package named after the
// directory. Members are in the order of their names, as the answers of AWS are.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "shapegen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want a model and a directory, have %d arguments", len(args))
	}
	model, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(args[1])
	if err != nil {
		return err
	}
	files, err := Generate(model, filepath.Base(args[0]), filepath.Base(dir))
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
