package main

import "testing"

// Only Linux tells how much memory was ever resident.
func TestMemory(t *testing.T) {
	if err := checkMemory(t.Context(), &settings{scale: 0.001}, t.TempDir()); err != nil {
		t.Fatal(err)
	}
}

// TestIdle only shows that it works: so short a time says nothing.
func TestIdle(t *testing.T) {
	if _, err := measureIdle(t.Context(), &settings{scale: 0.05}, t.TempDir()); err != nil {
		t.Fatal(err)
	}
}
