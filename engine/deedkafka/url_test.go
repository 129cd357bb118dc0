package deedkafka

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/deedgo/deed/driver"
)

func TestURLRefused(t *testing.T) {
	for url, want := range map[string]string{
		"kafka:":                                  "names no broker",
		"kafka:///x":                              "cannot be read",
		"kafka://h/topic":                         "cannot be read",
		"kafka://h?colour=blue":                   `unknown parameter "colour"`,
		"kafka://h?tls=true&tls=false":            "given 2 times",
		"kafka://h?cert=a.pem":                    "mean nothing without each other",
		"kafka://h?sasl=plain":                    "means nothing without kafka://USER",
		"kafka://user:secret@h?sasl=gssapi":       `sasl is "gssapi"`,
		"kafka://h?replicas=none":                 "replicas is",
		"kafka://h?schema_id=0":                   "schema_id is",
		"kafka://h?dial_timeout=soon":             "dial_timeout is",
		"kafka://h?skip_verify=perhaps":           "skip_verify is",
		"kafka://h?tunnel=dark":                   "tunnel is",
		"kafka://h?tunnel=true&broker=other":      "a tunnel leads to one address",
		"kafka://user:secret@h?ca=/no/such/file":  "ca:",
		"kafka://user:secret@h?bad=%zz&other=bad": "its parameters cannot be read",
	} {
		_, err := Open(t.Context(), url, nil)
		if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ErrRefused with %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error repeats a password: %v", err)
		}
	}
}

// A broker that wants a user is reached with the right one alone. (kfake hangs up on
// others; Kafka says why.)
func TestSASL(t *testing.T) {
	url := cluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "shop", "right"),
		kfake.Superuser("SCRAM-SHA-256", "scram", "right"))
	for user, ok := range map[string]bool{
		"shop:right@": true, "shop:wrong@": false, "scram:right@": false,
	} {
		c, err := Open(t.Context(), strings.Replace(url, "kafka://", "kafka://"+user, 1), nil)
		if (err == nil) != ok {
			t.Errorf("%s: %v", user, err)
		}
		if err == nil {
			c.Close()
		}
	}
	c, err := Open(t.Context(), strings.Replace(url, "kafka://", "kafka://scram:right@", 1)+"?sasl=scram-sha-256", nil)
	if err != nil {
		t.Fatalf("by SCRAM: %v", err)
	}
	c.Close()
}

// Examine tells what the cluster keeps.
func TestExamine(t *testing.T) {
	for insync, want := range map[string]driver.Result{"1": driver.Noted, "2": driver.Good} {
		url := cluster(t, kfake.BrokerConfigs(map[string]string{"min.insync.replicas": insync}))
		found, err := Examine(t.Context(), url)
		if err != nil || len(found) == 0 || found[0].What != "brokers" || found[0].Result != want {
			t.Errorf("min.insync.replicas=%s: %+v, %v, want %s", insync, found, err, want)
		}
	}
}

// The members of a group divide what is free, and keep what they own.
func TestDivide(t *testing.T) {
	for what, c := range map[string]struct {
		shares []share
		n      int
		want   map[string]int // how many each is given
	}{
		"alone": {[]share{{member: "a"}}, 3, map[string]int{"a": 3}},
		"two":   {[]share{{member: "a"}, {member: "b"}}, 3, map[string]int{"a": 2, "b": 1}},
		"one has all": {
			[]share{{member: "a", owned: []int{0, 1, 2, 3}}, {member: "b"}}, 4, map[string]int{"a": 2, "b": 0},
		},
		"one has released": {
			[]share{{member: "a", owned: []int{0, 1}}, {member: "b"}}, 4, map[string]int{"a": 2, "b": 2},
		},
		"more than partitions": {[]share{{member: "a"}, {member: "b"}}, 1, map[string]int{"a": 1, "b": 0}},
		"a partition too many": {[]share{{member: "a", owned: []int{7}}}, 2, map[string]int{"a": 2}},
	} {
		divide(c.shares, c.n)
		given := make(map[int]bool)
		for _, s := range c.shares {
			if len(s.given) != c.want[s.member] {
				t.Errorf("%s: %s is given %v, want %d", what, s.member, s.given, c.want[s.member])
			}
			for _, p := range s.given {
				if given[p] || p >= c.n {
					t.Errorf("%s: partition %d is given twice, or is none", what, p)
				}
				given[p] = true
			}
		}
	}
}
