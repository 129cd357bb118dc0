package driver

import "strings"

// MatchTopic reports whether a topic's name matches a pattern: a name in which each
// "*" stands for any characters, or none. A dot is a character like any other, so
// that "sensors.*" matches sensors.kitchen.oven too.
func MatchTopic(pattern, name string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	name, ok := strings.CutPrefix(name, first)
	if !ok || !star {
		return ok && name == ""
	}
	parts := strings.Split(rest, "*")
	last := len(parts) - 1
	for _, part := range parts[:last] { // the earliest place leaves most for the rest
		_, after, found := strings.Cut(name, part)
		if !found {
			return false
		}
		name = after
	}
	return strings.HasSuffix(name, parts[last])
}
