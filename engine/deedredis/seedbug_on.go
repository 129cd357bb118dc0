//go:build seedbug

package deedredis

import (
	"os"
	"strings"
)

// seedbugs are what DEED_SEEDBUG takes out of the scripts.
var seedbugs = map[string]string{
	"epoch":     "if fenced(claim, ARGV[2]) or c[2] ~= ARGV[1] then return 'lost' end",
	"unpark":    "r.name, due = 'waiting', ms",
	"version":   "if version ~= tonumber(ARGV[3]) then return {'conflict', version} end",
	"gap":       "if seq > before + 1 then return {'gap', before} end",
	"retention": "if hold == 0 or ms - at <= hold then break end",
}

var seedbug = seeded(os.Getenv("DEED_SEEDBUG"))

// seeded returns the line that keeps a bug out, "" for none of this package's.
func seeded(name string) string {
	line := seedbugs[name]
	if line != "" && strings.Count(settleLua+parkLua+sweepLua+streamLua+publishLua, line) != 1 {
		panic("seedbug " + name + ": no script has the line: " + line)
	}
	return line
}

// planted returns a script without that line.
func planted(text string) string {
	if seedbug == "" {
		return text
	}
	return strings.Replace(text, seedbug, "", 1)
}
