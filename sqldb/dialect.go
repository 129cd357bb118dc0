package sqldb

import (
	"strconv"
	"strings"
)

// Dialect names a kind of SQL and knows what differs.
type Dialect string

// The dialects.
const (
	DialectSQLite   Dialect = "sqlite"
	DialectPostgres Dialect = "postgres"
	DialectMySQL    Dialect = "mysql"
)

// Rebind turns a query written with "?" placeholders into the dialect's. A placeholder
// may have a number, "?3", when the query names it more than once. A question mark in
// quotes is none.
func (d Dialect) Rebind(query string) string {
	if d != DialectPostgres {
		return query
	}
	return rewrite(query, "")
}

// Bytes returns a text as an argument for a column of bytes, which SQLite has as text.
func (d Dialect) Bytes(text string) any {
	if d == DialectSQLite {
		return text
	}
	return []byte(text)
}

// Qualify is Rebind for Postgres with the tables of deed in a schema.
func Qualify(query, schema string) string { return rewrite(query, QuoteName(schema)+".") }

// QuoteName writes a name of Postgres as SQL does.
func QuoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// rewrite numbers the placeholders of a query and puts prefix before the names of deed's
// tables, which begin with deed_.
func rewrite(query, prefix string) string {
	var b strings.Builder
	n, quote, word := 0, byte(0), false // word: the byte before belongs to one
	for i := 0; i < len(query); i++ {
		c := query[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case strings.HasPrefix(query[i:], "--"): // a comment
			quote = '\n'
		case c == '?':
			b.WriteByte('$')
			if i+1 == len(query) || query[i+1] < '0' || query[i+1] > '9' {
				n++
				b.WriteString(strconv.Itoa(n))
			}
			continue
		case !word && strings.HasPrefix(query[i:], "deed_"):
			b.WriteString(prefix)
		}
		word = c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		b.WriteByte(c)
	}
	return b.String()
}
