package deedsql

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/deedgo/deed/driver"
)

// findGroup returns a group's id, or ErrNotFound.
func findGroup(st *statements, group, topic string) (id int64, err error) {
	err = st.row("SELECT g.id FROM deed_group g JOIN deed_topic p ON p.id = g.topic_id WHERE g.name = ? AND p.name = ?",
		[]any{group, topic}, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("%w: group %s on topic %s", driver.ErrNotFound, group, topic)
	}
	return id, err
}
