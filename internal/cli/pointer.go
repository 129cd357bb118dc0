package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// pointer is where --key, --id and --time find their value: a JSON Pointer
// (RFC 6901) into the line, or a literal that is the same for every line.
type pointer struct {
	flag    string
	text    string
	tokens  []string // nil for a literal and for the whole value
	literal bool
}

func parsePointer(flag, s string) (pointer, error) {
	p := pointer{flag: flag, text: s}
	switch {
	case strings.HasPrefix(s, "="):
		p.literal = true
		p.text = s[1:]
		if p.text == "" {
			return p, usagef("--%s %q: the literal is empty", flag, s)
		}
		return p, nil
	case s == "":
		return p, nil
	case s[0] != '/':
		return p, usagef("--%s %q: want a JSON Pointer like /a/b, or a literal like =text", flag, s)
	}
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	for token := range strings.SplitSeq(s[1:], "/") {
		for i := range len(token) {
			if token[i] == '~' && (i+1 == len(token) || token[i+1] != '0' && token[i+1] != '1') {
				return p, usagef("--%s %q: a ~ in a JSON Pointer is written ~0, a / is ~1", flag, s)
			}
		}
		p.tokens = append(p.tokens, unescape.Replace(token))
	}
	return p, nil
}

// value returns the text of the string, number or boolean that p points to in
// doc, which is valid JSON. isNumber tells a number from a string of digits.
func (p pointer) value(doc []byte) (text string, isNumber bool, err error) {
	if p.literal {
		return p.text, false, nil
	}
	raw, ok := find(doc, p.tokens)
	if !ok {
		return "", false, fmt.Errorf("--%s %s: no such value", p.flag, p.text)
	}
	switch raw[0] {
	case '"':
		if text, err = unquote(raw); err != nil {
			return "", false, fmt.Errorf("--%s %s: %w", p.flag, p.text, err)
		}
		if text == "" {
			return "", false, fmt.Errorf("--%s %s: the value is empty", p.flag, p.text)
		}
		return text, false, nil
	case '{', '[', 'n':
		return "", false, fmt.Errorf("--%s %s: the value is no string or number", p.flag, p.text)
	case 't', 'f':
		return string(raw), false, nil
	}
	return string(raw), true, nil
}

// find walks doc, which is valid JSON, along tokens. It looks at bytes and decodes
// nothing: pub does this for every line and flag. As for encoding/json, the last of
// several members of one name counts.
func find(doc []byte, tokens []string) ([]byte, bool) {
	s := scanner{doc, skipSpace(doc, 0)}
	for _, token := range tokens {
		found := -1
		switch s.doc[s.at] {
		case '{':
			s.members(func(name []byte, at int) {
				if nameIs(name, token) {
					found = at
				}
			})
		case '[':
			if n, ok := arrayIndex(token); ok {
				s.elements(func(i, at int) {
					if i == n {
						found = at
					}
				})
			}
		}
		if found < 0 {
			return nil, false
		}
		s.at = found
	}
	start := s.at
	s.skip()
	return doc[start:s.at], true
}

// arrayIndex reads an index as RFC 6901 writes it: digits without leading zeros.
func arrayIndex(token string) (int, bool) {
	if token == "" || len(token) > 1 && token[0] == '0' || token[0] == '+' || token[0] == '-' {
		return 0, false
	}
	n, err := strconv.Atoi(token)
	return n, err == nil
}

func nameIs(quoted []byte, name string) bool {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner) == name
	}
	s, err := unquote(quoted)
	return err == nil && s == name
}

func unquote(raw []byte) (string, error) {
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner), nil
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

// scanner steps over the values of a valid JSON document.
type scanner struct {
	doc []byte
	at  int
}

func skipSpace(doc []byte, at int) int {
	for at < len(doc) && (doc[at] == ' ' || doc[at] == '\t' || doc[at] == '\r' || doc[at] == '\n') {
		at++
	}
	return at
}

// members calls f with the quoted name of each member and where its value starts.
func (s *scanner) members(f func(name []byte, at int)) {
	s.at = skipSpace(s.doc, s.at+1)
	for s.doc[s.at] != '}' {
		start := s.at
		s.skipString()
		name := s.doc[start:s.at]
		s.at = skipSpace(s.doc, skipSpace(s.doc, s.at)+1) // past the colon
		f(name, s.at)
		s.next()
	}
	s.at++
}

func (s *scanner) elements(f func(i, at int)) {
	s.at = skipSpace(s.doc, s.at+1)
	for i := 0; s.doc[s.at] != ']'; i++ {
		f(i, s.at)
		s.next()
	}
	s.at++
}

// next steps over a value and the comma behind it.
func (s *scanner) next() {
	s.skip()
	s.at = skipSpace(s.doc, s.at)
	if s.doc[s.at] == ',' {
		s.at = skipSpace(s.doc, s.at+1)
	}
}

// skip steps over one value.
func (s *scanner) skip() {
	switch s.doc[s.at] {
	case '"':
		s.skipString()
	case '{', '[':
		s.skipNested()
	default:
		for s.at < len(s.doc) && !bytes.ContainsRune([]byte(",]} \t\r\n"), rune(s.doc[s.at])) {
			s.at++
		}
	}
}

// skipNested counts brackets instead of recursing: lines come from anybody.
func (s *scanner) skipNested() {
	for depth := 0; ; {
		switch s.doc[s.at] {
		case '"':
			s.skipString()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		s.at++
		if depth == 0 {
			return
		}
	}
}

func (s *scanner) skipString() {
	for s.at++; s.doc[s.at] != '"'; s.at++ {
		if s.doc[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
}
