package deednats

import (
	"fmt"
	"strconv"
	"strings"
)

// names are what a connection's topics are stored under. A topic has two streams, its
// log and the journals of its groups; what is one document, of which the latest counts,
// is in a stream that all topics share.
type names struct{ prefix string }

func (n names) meta() string                { return n.prefix + "-meta" }
func (n names) log(topic string) string     { return n.prefix + "-log-" + token(topic) }
func (n names) groups(topic string) string  { return n.prefix + "-groups-" + token(topic) }
func (n names) streamOf(kind string) string { return n.prefix + "-" + kind }

func (n names) metaSubjects() string { return n.prefix + ".meta.>" }

// changes is the subject, outside of JetStream, that tells of members coming and going.
func (n names) changes() string { return n.prefix + ".changes" }

func (n names) number() string                 { return n.prefix + ".meta.number" }
func (n names) clock() string                  { return n.prefix + ".meta.clock" }
func (n names) life(topic string) string       { return n.prefix + ".meta.life." + token(topic) }
func (n names) record(name string) string      { return n.prefix + ".meta.record." + token(name) }
func (n names) allRecords() string             { return n.prefix + ".meta.record.>" }
func (n names) docs(of life) string            { return n.prefix + ".meta.topic." + of.token() }
func (n names) group(of life, g string) string { return n.docs(of) + ".group." + token(g) }
func (n names) allGroups(of life) string       { return n.docs(of) + ".group.>" }

// base says what of a partition was removed, producers who wrote to it.
func (n names) base(of life, p int) string      { return n.docs(of) + ".base." + strconv.Itoa(p) }
func (n names) producers(of life, p int) string { return n.docs(of) + ".producers." + strconv.Itoa(p) }

func (n names) partition(of life, p int) string {
	return n.prefix + ".log." + of.token() + "." + strconv.Itoa(p)
}

// large is where the data of a partition's messages lies that is larger than a message.
func (n names) large(of life, p int) string { return n.partition(of, p) + "-large" }
func (n names) partitions(of life) string   { return n.prefix + ".log." + of.token() + ".*" }

func (n names) journals(of life) string { return n.prefix + ".groups." + of.token() + ".>" }
func (n names) journal(of life, g string, p int) string {
	return fmt.Sprintf("%s.groups.%s.journal.%s.%d", n.prefix, of.token(), token(g), p)
}

// blobs is where what is too large for an entry of the journal lies.
func (n names) blobs(of life, g string, p int) string {
	return fmt.Sprintf("%s.groups.%s.blob.%s.%d", n.prefix, of.token(), token(g), p)
}

// life is one generation of a topic.
type life struct {
	topic      string
	generation int
}

func (l life) token() string { return token(l.topic) + "." + strconv.Itoa(l.generation) }

// token writes any text so that it can be a part of a subject and of a stream's name.
func token(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// text is the opposite of token.
func text(token string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '=' {
			b.WriteByte(token[i])
			continue
		}
		if i+2 >= len(token) {
			return "", fmt.Errorf("%q is no name that deed wrote", token)
		}
		c, err := strconv.ParseUint(token[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("%q is no name that deed wrote", token)
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), nil
}
