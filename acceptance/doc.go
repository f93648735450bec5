// Package acceptance tests Penstock through the doors its users have: the real
// binary as a process, real cameras, ffmpeg, an S3 server, a browser, kill -9.
//
// Everything runs on the loopback interface, starts what it needs and ends it.
package acceptance
