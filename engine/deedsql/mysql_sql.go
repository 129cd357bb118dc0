package deedsql

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// mysqlWords are names of columns that are words of MySQL's own.
var mysqlWords = regexp.MustCompile(`\b(key|partition|lag)\b`)

var (
	onConflict = regexp.MustCompile(` ON CONFLICT \([^)]*\) DO UPDATE SET `)
	excluded   = regexp.MustCompile(`\bexcluded\.(\w+)`)
	// deleteSome is a DELETE of so many rows that a query finds.
	deleteSome = regexp.MustCompile(`^DELETE FROM (\w+) WHERE \(?([\w, ]+)\)? IN \((SELECT .+ LIMIT \?)\)(?: AND (.+))?$`)
)

const doNothing = " ON CONFLICT (seat) DO NOTHING"

// mysqlSQL says a query in MySQL's words.
func mysqlSQL(query string) string {
	if own, ok := mysqlOwn[query]; ok {
		return own
	}
	if m := deleteSome.FindStringSubmatch(query); m != nil {
		query = fmt.Sprintf("DELETE t FROM %s t JOIN (%s) found USING (%s)", m[1], m[3], m[2])
		if m[4] != "" {
			query += " WHERE " + m[4]
		}
	}
	if rest, ok := strings.CutSuffix(query, doNothing); ok {
		query = strings.Replace(rest, "INSERT INTO", "INSERT IGNORE INTO", 1)
	}
	if onConflict.MatchString(query) {
		query = excluded.ReplaceAllString(onConflict.ReplaceAllString(query, " ON DUPLICATE KEY UPDATE "), "VALUES($1)")
	}
	if rest, ok := strings.CutSuffix(query, forShare); ok {
		query = rest + " LOCK IN SHARE MODE" // which keeps the row from any change
	}
	query = strings.ReplaceAll(query, "LIMIT ? + 0", "LIMIT ?")
	query = strings.ReplaceAll(query, " / ", " DIV ") // of integers
	return mysqlWords.ReplaceAllString(query, "`$1`")
}

// mysqlOwn are queries that MySQL wants in another form, with the same parameters in
// the same order.
var mysqlOwn = func() map[string]string {
	own := make(map[string]string)
	for n := 1; n <= bulkRows; n++ {
		own[selectWindow[n]] = mysqlWindow(n)
	}
	// Row by row: to go through those of the partition waits for what is not committed.
	own[deleteIntake] = "DELETE i FROM deed_intake i FORCE INDEX (n) WHERE i.topic_id + 0 = ? AND i.`partition` + 0 = ? " +
		"AND i.n IN (" + places(idsAtOnce) + ")"
	for _, query := range []string{selectIntakes, selectIntakePlaces} {
		own[query] = mysqlWords.ReplaceAllString(strings.ReplaceAll(query, "deed_partition", "deed_head"), "`$1`")
	}
	return own
}()

// mysqlWindow looks up n events in the id window: each era with each event.
func mysqlWindow(n int) string {
	return "SELECT v.i FROM (SELECT ? AS topic_id) p " +
		"STRAIGHT_JOIN (SELECT ? AS era UNION ALL SELECT ? UNION ALL SELECT ?) e STRAIGHT_JOIN (SELECT ? AS stored_at) a " +
		"STRAIGHT_JOIN (" + mysqlEvents(n) + ") v " +
		"STRAIGHT_JOIN deed_window w ON w.topic_id = p.topic_id AND w.era = e.era AND w.source = v.source AND w.id = v.id " +
		"WHERE w.stored_at > a.stored_at"
}

func mysqlEvents(n int) string {
	rows := []string{"SELECT 0 AS i, ? AS source, ? AS id"}
	for i := 1; i < n; i++ {
		rows = append(rows, "SELECT "+strconv.Itoa(i)+", ?, ?")
	}
	return strings.Join(rows, " UNION ALL ")
}

// translations remembers what queries became.
type translations struct {
	mu   sync.RWMutex
	said map[string]string
}

// maxTranslations bounds what is remembered: lists have queries of their own making.
const maxTranslations = 2000

func (t *translations) get(query string) string {
	t.mu.RLock()
	said, ok := t.said[query]
	t.mu.RUnlock()
	if ok {
		return said
	}
	said = mysqlSQL(query)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.said == nil || len(t.said) >= maxTranslations {
		t.said = make(map[string]string)
	}
	t.said[query] = said
	return said
}
