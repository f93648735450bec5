// Package shape holds the inputs and outputs of Kinesis Data Streams as Go structs, and
// the tables that validate them, both made from the service model, and the hot ones'
// encoders and decoders, made by hand.
//
// An absent member is the zero value: "", nil, the zero Time. Members are pointers where
// zero is a value of its own. The model's limits hold for every input that a handler gets.
package shape

//go:generate go run penstock/api/internal/shapegen ../../models/kinesis.json .
