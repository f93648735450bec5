package lanetest

import (
	"testing"

	"penstock/storage"
)

func TestMemoryIsALane(t *testing.T) {
	Run(t, func(*testing.T) storage.Lane { return &Memory{} })
}
