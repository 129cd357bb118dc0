// Package orderspb holds the messages that package deedproto is tested with.
package orderspb

// Protoc and protoc-gen-go v1.36.12 make order.pb.go. The tests use the committed
// file and need neither.
//
//go:generate protoc --go_out=. --go_opt=paths=source_relative order.proto
