package filelog_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driverkit"
	"github.com/deedgo/deed/engine/deedsql"
	"github.com/deedgo/deed/examples/filelog"
)

type note struct{ Text string }

// Handlers need dead letters, which the log has no place for: SQLite keeps them.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "filelog")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	// [state]
	files, err := filelog.Open(ctx, dir)
	if err != nil {
		log.Fatal(err)
	}
	state, err := deedsql.Open(ctx, "sqlite:"+filepath.Join(dir, "state.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := driverkit.WithState(files.Connect(), state)
	if err != nil {
		log.Fatal(err)
	}
	bus, err := deed.New(conn, &deed.Options{Source: "/notes"})
	// [state]
	if err != nil {
		log.Fatal(err)
	}

	notes := deed.NewTopic("notes", nil)
	noted := deed.NewType(notes, "note.taken", 1, func(n note) string { return n.Text })
	if err := bus.Publish(ctx, noted.New(note{"buy milk"})); err != nil {
		log.Fatal(err)
	}
	err = bus.Run(ctx, deed.Subscribe("reader", nil, deed.On(noted,
		func(_ context.Context, e deed.Received[note]) error {
			fmt.Println(e.Data.Text, "at", e.Position)
			cancel()
			return nil
		})))
	if err != nil {
		log.Fatal(err)
	}
	bus.Close()
	files.Close()
	// Output: buy milk at 6-1
}
