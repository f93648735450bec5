package meta_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"penstock/storage/meta"
)

// childPath names the database to a child process that writes until it is killed.
const childPath = "PENSTOCK_META_CHILD"

// writeUntilKilled prints each number once its write was acknowledged.
func writeUntilKilled(path string) {
	db, err := meta.Open(context.Background(), meta.Config{Path: path, Schemas: []meta.Schema{schema}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for w := range 8 {
		go func() {
			for i := w; ; i += 8 {
				if err := db.Write(context.Background(), func(tx *sql.Tx) error {
					_, err := tx.Exec("INSERT OR IGNORE INTO kv (k, v) VALUES (?, ?)", fmt.Sprint(os.Getpid(), "-", i), i)
					return err
				}); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Printf("%d-%d\n", os.Getpid(), i)
			}
		}()
	}
	select {}
}

func TestKillLosesNoAcknowledgedWrite(t *testing.T) {
	p := filepath.Join(t.TempDir(), "meta.db")
	acked := map[string]bool{}
	for round := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childPath+"="+p)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			acked[lines.Text()] = true
			if n == 100+37*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		db, err := meta.Open(t.Context(), meta.Config{Path: p, Schemas: []meta.Schema{schema}})
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]bool{}
		rows, err := db.Read().Query("SELECT k FROM kv")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var k string
			if err := rows.Scan(&k); err != nil {
				t.Fatal(err)
			}
			have[k] = true
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		for k := range acked {
			if !have[k] {
				t.Errorf("round %d: %s was acknowledged and is gone", round, k)
			}
		}
		if found, err := db.Check(t.Context(), false); err != nil || len(found) != 0 {
			t.Errorf("round %d: %v, %v", round, found, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d writes acknowledged over 5 kills", len(acked))
}

func BenchmarkWrite(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(strconv.Itoa(writers)+"-writers", func(b *testing.B) {
			db := open(b, filepath.Join(b.TempDir(), "meta.db"))
			st, err := db.Prepare(b.Context(), "INSERT INTO kv (k, v) VALUES (?, ?)")
			if err != nil {
				b.Fatal(err)
			}
			next, errs := make(chan int), make(chan error, writers)
			b.ResetTimer()
			for range writers {
				go func() {
					for i := range next {
						if err := db.Write(context.Background(), func(tx *sql.Tx) error {
							_, err := tx.Stmt(st).Exec(fmt.Sprintf("key-%010d", i), i)
							return err
						}); err != nil {
							errs <- err
							return
						}
					}
					errs <- nil
				}()
			}
			for i := range b.N {
				next <- i
			}
			close(next)
			for range writers {
				if err := <-errs; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	p := filepath.Join(b.TempDir(), "meta.db")
	for b.Loop() {
		db, err := meta.Open(b.Context(), meta.Config{Path: p, Schemas: []meta.Schema{schema}})
		if err != nil {
			b.Fatal(err)
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
