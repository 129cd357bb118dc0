// Package tidy holds the repository's rules as tests: who may import whom, how
// long a file may grow, what is documented, that the documentation shows code that
// compiles. Without its check here, a rule is only a wish.
//
// A rule is broken only with an entry in exceptions.txt that gives the reason. An
// entry that is no longer needed fails, too, so that the list shrinks by itself.
package tidy
