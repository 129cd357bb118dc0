package system

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/examples/orders/events"
	"github.com/deedgo/deed/examples/orders/order"
	"github.com/deedgo/deed/sqldb"
)

// facts are what each party knows once all is quiet, from its own records. The
// auditor believes no service: it reads the customers' memory, the four database
// files, the mail service's books and the bus.
type facts struct {
	accepted map[string]order.Request // the customers
	stock    map[string]int           // what was delivered, by SKU
	mails    map[string]int           // mails that went out, by order
	heard    map[string]int           // outcomes that the till heard, by order; nil without one

	orders       map[string]orderRow // order.db
	onHand       map[string]int      // inventory.db, by SKU
	reserved     map[string]int      // inventory.db, by SKU
	reservations map[string]int      // inventory.db: pieces by order
	view         map[string]viewRow  // analytics.db
	remembered   int                 // notification.db: mails it knows to have sent

	events map[string]map[string]int // the bus: how often by type and order
	work   work                      // the bus: lag, parked, dead letters
}

type orderRow struct {
	status, created string
	pieces          int
	total           events.Money
}

// viewRow has the same shape, so that rows are compared with ==.
type viewRow = orderRow

// audit reads the databases and the bus, after everybody has stopped.
func audit(ctx context.Context, o Options, along *listener) (*facts, error) {
	f := &facts{}
	files := []struct {
		service string
		read    func(context.Context, *sql.DB) error
	}{
		{orderService, f.readOrders},
		{inventoryService, f.readInventory},
		{notificationService, f.readMails},
		{analyticsService, f.readView},
	}
	for _, file := range files {
		db, err := sqldb.OpenSQLite(filepath.Join(o.Dir, file.service+".db"), &sqldb.SQLiteOptions{NoCreate: true})
		if err != nil {
			return nil, err
		}
		if err := errors.Join(file.read(ctx, db), db.Close()); err != nil {
			return nil, fmt.Errorf("audit %s: %w", file.service, err)
		}
	}
	bus, err := look(ctx, o)
	if err != nil {
		return nil, err
	}
	if along == nil {
		err = f.readBus(ctx, bus)
	} else {
		f.events, err = along.close()
	}
	if err == nil {
		f.work, err = openWork(ctx, bus)
	}
	return f, errors.Join(err, bus.Close())
}

// eachRow calls scan for every row of a query.
func eachRow(ctx context.Context, db *sql.DB, query string, scan func(*sql.Rows) error) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (f *facts) readOrders(ctx context.Context, db *sql.DB) error {
	f.orders = make(map[string]orderRow)
	return eachRow(ctx, db, `SELECT id, status, items, total, created FROM orders`, func(rows *sql.Rows) error {
		var id, items string
		var row orderRow
		if err := rows.Scan(&id, &row.status, &items, &row.total, &row.created); err != nil {
			return err
		}
		var lines []events.Item
		if err := json.Unmarshal([]byte(items), &lines); err != nil {
			return err
		}
		for _, line := range lines {
			row.pieces += line.Quantity
		}
		f.orders[id] = row
		return nil
	})
}

func (f *facts) readInventory(ctx context.Context, db *sql.DB) error {
	f.onHand, f.reserved, f.reservations = make(map[string]int), make(map[string]int), make(map[string]int)
	err := eachRow(ctx, db, `SELECT sku, on_hand FROM stock`, func(rows *sql.Rows) error {
		var sku string
		var onHand int
		err := rows.Scan(&sku, &onHand)
		f.onHand[sku] = onHand
		return err
	})
	if err != nil {
		return err
	}
	return eachRow(ctx, db, `SELECT order_id, sku, quantity FROM reservations`, func(rows *sql.Rows) error {
		var id, sku string
		var quantity int
		err := rows.Scan(&id, &sku, &quantity)
		f.reserved[sku] += quantity
		f.reservations[id] += quantity
		return err
	})
}

func (f *facts) readMails(ctx context.Context, db *sql.DB) error {
	return db.QueryRowContext(ctx, `SELECT count(*) FROM mails`).Scan(&f.remembered)
}

func (f *facts) readView(ctx context.Context, db *sql.DB) error {
	f.view = make(map[string]viewRow)
	return eachRow(ctx, db, `SELECT id, status, items, total, created FROM order_summaries`, func(rows *sql.Rows) error {
		var id string
		var row viewRow
		err := rows.Scan(&id, &row.status, &row.pieces, &row.total, &row.created)
		f.view[id] = row
		return err
	})
}

func (f *facts) readBus(ctx context.Context, bus *deed.Bus) error {
	f.events = make(map[string]map[string]int)
	// An engine that checks no sequences has what a killed publisher sent twice twice: it is
	// one event all the same, by its id, and consumers take it once.
	repeats, seen := !bus.Features().Sequence, make(map[string]bool)
	for _, topic := range []*deed.Topic{events.Orders, events.Stock} {
		for e, err := range bus.Read(ctx, topic.Name(), nil) {
			if err != nil {
				return err
			}
			if repeats && seen[e.ID] {
				continue
			}
			seen[e.ID] = true
			if f.events[e.Type] == nil {
				f.events[e.Type] = make(map[string]int)
			}
			f.events[e.Type][e.Key]++
		}
	}
	return nil
}
