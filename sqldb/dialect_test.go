package sqldb

import "testing"

// TestRewrite writes queries in the words of Postgres: placeholders are numbered, deed's
// tables are in their schema, and what stands in quotes and comments stays.
func TestRewrite(t *testing.T) {
	for query, want := range map[string]string{
		"SELECT a FROM deed_log WHERE a = ? AND b = ?": `SELECT a FROM "x".deed_log WHERE a = $1 AND b = $2`,
		"deed_a JOIN deed_b ON deed_a.i = deed_b.i":    `"x".deed_a JOIN "x".deed_b ON "x".deed_a.i = "x".deed_b.i`,
		"?2, ?1, ?2":                            `$2, $1, $2`,
		"'deed_log ? it''s' || ?":               `'deed_log ? it''s' || $1`,
		`"deed_log" ?`:                          `"deed_log" $1`,
		"a -- it's deed_log ?\n, deed_log":      "a -- it's deed_log ?\n, \"x\".deed_log",
		"undeed_log, my_deed_log, 1deed_log":    "undeed_log, my_deed_log, 1deed_log",
		"lower(deed_log)(deed_run),deed_mark":   `lower("x".deed_log)("x".deed_run),"x".deed_mark`,
		"IN (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ": "IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ",
		"":                                      "",
	} {
		if got := Qualify(query, "x"); got != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", query, got, want)
		}
	}
	if got, want := Qualify("deed_log", `a"b`), `"a""b".deed_log`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := DialectPostgres.Rebind("deed_log ?"), "deed_log $1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := DialectSQLite.Rebind("deed_log ?"), "deed_log ?"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
