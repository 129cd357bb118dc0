package driver

import "testing"

func TestMatchTopic(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"orders", "orders", true},
		{"orders", "orders2", false},
		{"orders", "order", false},
		{"", "", true},
		{"*", "", true},
		{"*", "orders", true},
		{"sensors.*", "sensors.kitchen", true},
		{"sensors.*", "sensors.kitchen.oven", true},
		{"sensors.*", "sensors.", true},
		{"sensors.*", "sensors", false},
		{"*.oven", "sensors.kitchen.oven", true},
		{"*.oven", "oven", false},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-c-b", false},
		{"*ab*ab", "ab", false},
		{"*ab*ab", "abab", true},
		{"a**c", "abc", true},
		{"*.x.*", "a.x", false},
		{"*.x.*", "a.x.b", true},
	} {
		if got := MatchTopic(c.pattern, c.name); got != c.want {
			t.Errorf("MatchTopic(%q, %q) is %v, want %v", c.pattern, c.name, got, c.want)
		}
	}
}
