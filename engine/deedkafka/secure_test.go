package deedkafka

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/fault"
	"github.com/deedgo/deed/internal/testserver"
)

// serves publishes an event by a URL, and receives it as a member of a group, which has
// connections of its own.
func serves(t *testing.T, url string) {
	t.Helper()
	c, err := Open(t.Context(), url, nil)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	info, err := c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	m := driver.Message{ID: "1", Source: "/test", Type: "tested", Version: 1}
	rs, err := c.Publish(t.Context(), []driver.Batch{
		{Topic: "orders", Generation: info.Generation, Messages: []driver.Message{m}},
	})
	if err != nil || rs[0].Err != nil {
		t.Fatal(err, rs)
	}
	sub, err := c.Subscribe(t.Context(), driver.SubscribeSpec{Topic: "orders", Group: "g", Lease: 30e9})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for {
		got, err := sub.Receive(t.Context(), driver.Fetch{Events: 10, Bytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range got.Granted { // so that the next who comes need not wait
			defer sub.Settle(t.Context(), []driver.Settlement{{Partition: 0, Epoch: g.Epoch, Release: true}})
		}
		if len(got.Deliveries) > 0 {
			return
		}
	}
}

// refuses wants Open to fail, in words where the broker gives a reason: kfake hangs up on
// who it does not know.
func refuses(t *testing.T, url, says string) {
	t.Helper()
	c, err := Open(t.Context(), url, nil)
	if err == nil {
		c.Close()
	}
	if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") ||
		says != "" && !errors.Is(err, driver.ErrRefused) {
		t.Errorf("%v, want a refusal with %q, and no secret", err, says)
	}
}

// certificates makes an authority, and a server's configuration.
func certificates(t *testing.T) (*testserver.TLS, *tls.Config) {
	t.Helper()
	c, err := testserver.NewTLS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(c.ServerCertFile, c.ServerKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	return c, &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: c.Pool}
}

// Brokers with TLS are reached by who trusts their authority, and has a certificate where
// they want one.
func TestTLS(t *testing.T) {
	c, config := certificates(t)
	url := cluster(t, kfake.TLS(config))
	serves(t, url+"?ca="+c.CAFile)
	serves(t, url+"?skip_verify=true")
	refuses(t, url+"?tls=true", "certificate")
	refuses(t, url+"?ca="+c.CAFile+"&server_name=elsewhere", "elsewhere")

	mutual := config.Clone()
	mutual.ClientAuth = tls.RequireAndVerifyClientCert
	url = cluster(t, kfake.TLS(mutual))
	serves(t, url+"?ca="+c.CAFile+"&cert="+c.CertFile+"&key="+c.KeyFile)
	refuses(t, url+"?ca="+c.CAFile, "certificate")
}

// A user is known by SASL, over TLS too, where a password belongs.
func TestSASLOverTLS(t *testing.T) {
	c, config := certificates(t)
	url := cluster(t, kfake.TLS(config), kfake.EnableSASL(), kfake.Superuser("PLAIN", "plain", "a secret"),
		kfake.Superuser("SCRAM-SHA-256", "s256", "a secret"), kfake.Superuser("SCRAM-SHA-512", "s512", "a secret"))
	at := func(user, more string) string {
		return strings.Replace(url, "//", "//"+user+"@", 1) + "?ca=" + c.CAFile + more
	}
	serves(t, at("plain:a%20secret", ""))
	serves(t, at("s256:a%20secret", "&sasl=scram-sha-256"))
	serves(t, at("s512:a%20secret", "&sasl=scram-sha-512"))
	refuses(t, at("plain:another%20secret", ""), "")
	refuses(t, at("s512:another%20secret", "&sasl=scram-sha-512"), "")
	refuses(t, url+"?ca="+c.CAFile, "")
}

// A broker behind a tunnel is reached by the URL's address, whatever it says of itself.
func TestTunnel(t *testing.T) {
	c, config := certificates(t)
	for what, more := range map[string]string{"plain": "", "TLS": "&ca=" + c.CAFile} {
		opts := []kfake.Opt{kfake.NumBrokers(1)}
		if more != "" {
			opts = append(opts, kfake.TLS(config))
		}
		proxy := fault.NewProxy(t, strings.TrimPrefix(cluster(t, opts...), "kafka://"))
		through := "kafka://" + proxy.Addr() + "?tunnel=true" + more
		serves(t, through)
		proxy.Refuse()
		proxy.Cut()
		if _, err := Open(t.Context(), through, nil); !errors.Is(err, driver.ErrAway) {
			t.Errorf("%s: with the tunnel closed it is %v, want ErrAway", what, err)
		}
	}
}
