package deedamqp_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedamqp"
	"github.com/deedgo/deed/internal/rabbittest"
)

func TestURLRefused(t *testing.T) {
	for url, want := range map[string]string{
		"amqp:":                                    "it names no host",
		"amqp:///shop":                             "it names no host",
		"amqp://h/a/b":                             "its path is no virtual host",
		"amqp://h?colour=blue":                     `unknown parameter "colour"`,
		"amqp://h?heartbeat=3s&heartbeat=4s":       "given 2 times",
		"amqp://h?heartbeat=1ms":                   "heartbeat is",
		"amqp://h?dial_timeout=soon":               "dial_timeout is",
		"amqp://h?topology=yes":                    "topology is",
		"amqp://h?queues=classic":                  "queues is",
		"amqp://user:secret@h?ca=/no/such/file":    "ca wants TLS",
		"amqps://user:secret@h?ca=/no/such/file":   "ca:",
		"amqps://user:secret@h?cert=/no/such/file": "without each other",
		"amqps://h?skip_verify=perhaps":            "skip_verify is",
		"amqp://user:secret@h?bad=%zz&other=bad":   "its parameters cannot be read",
	} {
		_, err := deedamqp.Open(t.Context(), url)
		if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ErrRefused with %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error repeats a password: %v", err)
		}
	}
}

// A server is reached over TLS by who trusts its certificate, and by nobody else.
func TestTLS(t *testing.T) {
	t.Parallel()
	s, c := rabbittest.StartTLS(t)
	for parameters, ok := range map[string]bool{
		"": false, "?ca=" + c.CAFile: true, "?skip_verify=true": true, "?ca=" + c.CAFile + "&server_name=localhost": true,
		"?ca=" + c.CAFile + "&server_name=elsewhere": false,
	} {
		conn, err := deedamqp.Open(t.Context(), s.URL()+parameters)
		if ok != (err == nil) {
			t.Errorf("%q: %v", parameters, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}
