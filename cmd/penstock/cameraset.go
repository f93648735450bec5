package main

import (
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"penstock/ingest/onvif"
	"penstock/internal/fault"
)

func (c *client) cameraSet() *cobra.Command {
	var every time.Duration
	var device, profile string
	cmd := &cobra.Command{Use: "set NAME", Short: "Change a setting of a camera itself, through ONVIF", Args: cobra.ExactArgs(1), ValidArgsFunction: c.streamNames(1),
		Example: "  penstock camera set front-door --key-interval 2s",
		RunE: func(cmd *cobra.Command, args []string) error {
			if every == 0 {
				return usageError{fault.New(fault.Invalid, "set camera", args[0], "nothing is to be set").WithHint("--key-interval 2s")}
			}
			var set struct{ Before, After onvif.Keys }
			body := map[string]any{"seconds": every.Seconds(), "device": device, "profile": profile}
			if err := c.call(cmd.Context(), http.MethodPost, streamPath(args[0], "/key-interval"), nil, body, &set); err != nil {
				return err
			}
			c.t.say("%s makes a key frame every %.3g s now (%d frames at %.3g frames/s, profile %q); it was every %.3g s", args[0],
				set.After.Seconds, set.After.Frames, set.After.FPS, plain(set.After.Profile), set.Before.Seconds)
			return nil
		}}
	cmd.Flags().DurationVar(&every, "key-interval", 0, "time between key frames: 1s or 2s suit most")
	cmd.Flags().StringVar(&device, "device", "", "`URL` of the camera's ONVIF device service, where it is not found by itself")
	cmd.Flags().StringVar(&profile, "profile", "", "name of the camera's profile, where it is not found by the stream's address")
	return cmd
}
