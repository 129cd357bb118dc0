package deedredis

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// pubSubSettings are what a redis+pubsub URL says.
type pubSubSettings struct {
	settings
	prefix  string // of channels: a topic's is prefix + topic
	sharded bool
	room    driverkit.Room
}

// The parameters of redis+pubsub URLs beside those of redis URLs, and those of the
// latter that say nothing here.
var (
	pubSubParameters  = []string{"prefix", "sharded", "buffer_events", "buffer_bytes"}
	storageParameters = []string{"wait", "waitaof", "wait_timeout"}
)

// parsePubSubURL reads a URL. An error never repeats it, for it may hold a password.
func parsePubSubURL(text string) (s pubSubSettings, err error) {
	refuse := func(format string, args ...any) (pubSubSettings, error) {
		return pubSubSettings{}, fmt.Errorf("%w: url: "+format, append([]any{driver.ErrRefused}, args...)...)
	}
	u, err := url.Parse(text)
	if err != nil {
		return refuse("cannot be read (want redis+pubsub://USER:PASSWORD@HOST:PORT, special characters as %%XX)")
	}
	u.Scheme = strings.TrimSuffix(u.Scheme, "+pubsub")
	q := u.Query()
	for name := range q {
		switch {
		case slices.Contains(storageParameters, name):
			return refuse("%s: nothing is stored that could be waited for (drop it, or open redis://)", name)
		case !slices.Contains(pubSubParameters, name) && !slices.Contains(parameters, name):
			known := slices.DeleteFunc(slices.Concat(pubSubParameters, parameters), func(p string) bool {
				return slices.Contains(storageParameters, p) || p == "db"
			})
			slices.Sort(known)
			return refuse("unknown parameter %q (want %s)", name, strings.Join(slices.Compact(known), ", "))
		}
	}
	if db := strings.Trim(u.Path, "/"); db != "" && db != "0" || q.Has("db") && q.Get("db") != "0" {
		return refuse("channels belong to no database (drop its number, and tell programs apart by prefix=NAME)")
	}
	s.prefix = "deed:topic:"
	if q.Has("prefix") {
		if s.prefix = q.Get("prefix"); s.prefix != "" {
			s.prefix += ":topic:"
		}
	}
	if s.sharded, err = driverkit.ReadFlag(q, "sharded"); err != nil {
		return refuse("%v", err)
	}
	s.room = driverkit.Room{Events: 4096, Bytes: 16 << 20}
	if err := s.room.Read(q); err != nil {
		return refuse("%v", err)
	}
	for _, name := range pubSubParameters {
		q.Del(name)
	}
	u.RawQuery = q.Encode()
	if s.settings, err = parseURL(u.String()); err != nil {
		return pubSubSettings{}, err
	}
	return s, nil
}

// channel returns the channel of a topic.
func (s *pubSubSettings) channel(topic string) string { return s.prefix + topic }

// glob returns what PSUBSCRIBE takes for a pattern. The prefix stands for itself.
func (s *pubSubSettings) glob(pattern string) string {
	return globEscape.Replace(s.prefix) + pattern
}

var globEscape = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)
