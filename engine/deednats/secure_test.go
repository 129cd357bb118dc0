package deednats

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/internal/natstest"
	"github.com/deedgo/deed/internal/testserver"
)

// serves publishes an event by a URL and reads it.
func serves(t *testing.T, url string) {
	t.Helper()
	c := open(t, url)
	info, err := c.CreateTopic(t.Context(), "orders", driver.TopicSettings{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	if r := publish(t, c, driver.Batch{Topic: "orders", Generation: info.Generation, Messages: messages(1, 1)}); r.Err != nil {
		t.Fatal(r.Err)
	}
	ds, err := c.Browse(t.Context(), driver.Page{Topic: "orders", Limit: 10})
	if err != nil || len(ds) == 0 {
		t.Errorf("%d events, %v; want what was published", len(ds), err)
	}
}

// refuses wants Open to fail, in words that do not repeat a secret.
func refuses(t *testing.T, url, says string) {
	t.Helper()
	c, err := Open(t.Context(), url, nil)
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v; want a refusal with %q, and no secret", err, says)
	}
}

// A server with TLS is reached by who trusts its authority, and has a certificate where it
// wants one.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := testserver.NewTLS(dir)
	if err != nil {
		t.Fatal(err)
	}
	block := func(verify bool) []string {
		return []string{fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: %v }",
			c.ServerCertFile, c.ServerKeyFile, c.CAFile, verify)}
	}
	s := natstest.StartWith(t, block(false), nats.Secure(c.Config()))
	serves(t, s.URL()+"?ca="+c.CAFile)
	serves(t, s.URL()+"?skip_verify=1")
	refuses(t, s.URL()+"?tls=1", "certificate")
	mutual := natstest.StartWith(t, block(true), nats.Secure(c.Config()))
	serves(t, mutual.URL()+"?ca="+c.CAFile+"&cert="+c.CertFile+"&key="+c.KeyFile)
	refuses(t, mutual.URL()+"?ca="+c.CAFile, "TLS")
}

// seed writes the seed of a new key, and returns it with the file.
func seed(t *testing.T, dir, name string, create func() (nkeys.KeyPair, error)) (key nkeys.KeyPair, public, file string) {
	t.Helper()
	key, err := create()
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = key.PublicKey(); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return key, public, file
}

// A user is known by a password, a token or a key.
func TestUsers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(s *natstest.Server, user string) string { return strings.Replace(s.URL(), "//", "//"+user+"@", 1) }

	named := natstest.StartWith(t, []string{`authorization { user: "shop", password: "a secret" }`},
		nats.UserInfo("shop", "a secret"))
	serves(t, at(named, "shop:a%20secret"))
	refuses(t, at(named, "shop:another%20secret"), "does not let this user in")

	token := natstest.StartWith(t, []string{`authorization { token: "a-secret" }`}, nats.Token("a-secret"))
	serves(t, at(token, "a-secret"))
	refuses(t, at(token, "another-secret"), "does not let this user in")

	_, public, file := seed(t, dir, "user.nk", nkeys.CreateUser)
	_, _, stranger := seed(t, dir, "stranger.nk", nkeys.CreateUser)
	option, err := nats.NkeyOptionFromSeed(file)
	if err != nil {
		t.Fatal(err)
	}
	keyed := natstest.StartWith(t, []string{fmt.Sprintf("authorization { users: [ { nkey: %s } ] }", public)}, option)
	serves(t, keyed.URL()+"?nkey="+file)
	refuses(t, keyed.URL()+"?nkey="+stranger, "does not let this user in")
	refuses(t, keyed.URL(), "does not let this user in")
}

// A file of credentials, as nsc makes it, is the user of an account that an operator has
// signed.
func TestCreds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	operator, operatorID, _ := seed(t, dir, "operator.nk", nkeys.CreateOperator)
	account, accountID, _ := seed(t, dir, "account.nk", nkeys.CreateAccount)
	_, systemID, _ := seed(t, dir, "system.nk", nkeys.CreateAccount)
	user, userID, _ := seed(t, dir, "user.nk", nkeys.CreateUser)
	accountOf := func(limits map[string]any) map[string]any {
		return map[string]any{"type": "account", "version": 2, "limits": limits}
	}
	some, all := unlimited(), unlimited()
	for _, name := range []string{"mem_storage", "disk_storage", "streams", "consumer"} { // of JetStream
		all[name] = -1
	}
	files := map[string]string{
		"operator": signed(t, operatorID, operator, map[string]any{
			"type": "operator", "version": 2, "system_account": systemID,
		}),
		"account": signed(t, accountID, operator, accountOf(all)),
		"system":  signed(t, systemID, operator, accountOf(some)),
		"user": signed(t, userID, account, map[string]any{
			"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
		}),
	}
	secret, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	creds := filepath.Join(dir, "user.creds")
	text := "-----BEGIN NATS USER JWT-----\n" + files["user"] + "\n------END NATS USER JWT------\n\n" +
		"-----BEGIN USER NKEY SEED-----\n" + string(secret) + "\n------END USER NKEY SEED------\n"
	if err := os.WriteFile(creds, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := natstest.StartWith(t, []string{
		"operator: " + files["operator"], "system_account: " + systemID, "resolver: MEMORY",
		"resolver_preload: { " + accountID + ": " + files["account"] + ", " + systemID + ": " + files["system"] + " }",
	}, nats.UserCredentials(creds))
	serves(t, s.URL()+"?creds="+creds)
	refuses(t, s.URL(), "does not let this user in")
}

// unlimited are the limits of an account without JetStream.
func unlimited() map[string]any {
	return map[string]any{
		"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
	}
}

// signed writes the claims of an operator, account or user, signed by a key.
func signed(t *testing.T, subject string, by nkeys.KeyPair, claims map[string]any) string {
	t.Helper()
	issuer, err := by.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	encode := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	unsigned := encode(map[string]string{"typ": "JWT", "alg": "ed25519-nkey"}) + "." + encode(map[string]any{
		"jti": base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(subject)), "iat": 1700000000,
		"iss": issuer, "name": subject, "sub": subject, "nats": claims,
	})
	signature, err := by.Sign([]byte(unsigned))
	if err != nil {
		t.Fatal(err)
	}
	return unsigned + "." + base64.RawURLEncoding.EncodeToString(signature)
}
