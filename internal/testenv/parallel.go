package testenv

import (
	"flag"
	"strconv"
)

// Parallel lets n parallel tests of a package run at once, unless the command line says how
// many: more than there are processors, for tests that mostly wait. TestMain calls it.
func Parallel(n int) {
	const parallel = "test.parallel"
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == parallel })
	if !given {
		_ = flag.Set(parallel, strconv.Itoa(n)) // a number that it takes
	}
}
