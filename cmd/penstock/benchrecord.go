package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"penstock/cmd/penstock/capacity"
	"penstock/cmd/penstock/doctor"
)

func benchRecord(t *terminal) *cobra.Command {
	length, rate := duration("10s"), bitrate(3_000_000)
	var data string
	cmd := &cobra.Command{Use: "record", Short: "Measure how many cameras and records the disk of the data directory carries", Args: cobra.NoArgs,
		Long: "Writes the way a server does, with its own code: durable commits of data records, and fragments of video, beside raw\n" +
			"writes and syncs of as much at once (the floor: nothing durable can be faster). A folder in the data directory, or\n" +
			"where that would be made, holds it meanwhile: up to 1 GiB at a time, and an eighth of what is free. No server is\n" +
			"asked; one that runs on that disk shares it.",
		Example: "  penstock bench record\n  penstock bench record --data /mnt/big --bitrate 8Mbit -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			window, err := length.window()
			if err != nil {
				return err
			}
			dir, err := t.diskFolder(data)
			if err != nil {
				return err
			}
			return t.disk(cmd.Context(), capacity.DiskConfig{Dir: dir, Duration: window, Bitrate: int(rate)}, &rate)
		}}
	cmd.Flags().StringVar(&data, "data", "", "data directory, a `DIR` (PENSTOCK_DATA; penstock-data)")
	cmd.Flags().Var(&length, "duration", "how long is measured, about")
	cmd.Flags().Var(&rate, "bitrate", "of a camera")
	return cmd
}

// disk measures one and prints what it found.
func (t *terminal) disk(ctx context.Context, c capacity.DiskConfig, rate *bitrate) error {
	stop := t.progress(ctx, "the disk of "+cut(c.Dir, 40), c.Duration)
	r, err := capacity.Disk(ctx, c)
	stop()
	if err != nil {
		return err
	}
	kind, err := doctor.System{}.FileSystem(c.Dir)
	if err != nil {
		kind = "" // not known on this system
	}
	v := r.Verdict
	v.Words = fmt.Sprintf("about %s cameras of %s/s, or %s records/s of 1 KiB (%s one by one). What ends first is %s.", capacity.Count(float64(r.Cameras)), rate,
		capacity.Count(float64(capacity.Round(r.Records))), capacity.Count(float64(capacity.Round(r.Alone))), v.Words)
	if kind == "tmpfs" || kind == "ramfs" {
		v.Words += " This is memory and no disk: name one with --data DIR."
	}
	if t.format == "table" {
		return t.steps(c.Dir, kind, r, v)
	}
	var d map[string]any
	text, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		return err
	}
	d["bench"], d["dir"], d["file_system"], d["camera_bits_per_s"] = "record", c.Dir, kind, c.Bitrate
	return t.findings(nil, v, d)
}

// steps prints a row for each way of writing.
func (t *terminal) steps(dir, kind string, r capacity.DiskReport, v capacity.Verdict) error {
	if kind != "" {
		kind = " (" + kind + ")"
	}
	t.say("%s%s", dir, kind)
	w := tabwriter.NewWriter(t.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tMB/S\tFLOOR\tPER SECOND\tP50\tP99")
	for _, s := range r.Steps {
		floor := "-"
		if s.Floor > 0 {
			floor = capacity.Count(s.Floor)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, capacity.Count(s.MB), floor, capacity.Count(s.Writes), ms(s.P50), ms(s.P99))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return t.conclude(v)
}
