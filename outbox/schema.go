package outbox

import "github.com/deedgo/deed/sqldb"

const component = "outbox"

// A row is new, then stamped (it has its place in a partition), then sent; or
// refused. Times are in milliseconds since 1970. Turn is the order of stamping,
// across producers, in which a partition's rows are sent.
var migrations = []sqldb.Migration{{Name: "create deed_outbox", SQL: `
create table deed_outbox (
	id         integer primary key autoincrement,
	topic      text not null,
	settings   text not null,              -- the topic as declared, JSON
	type       text not null,
	key        text not null,
	event      text not null,              -- attributes, CloudEvents JSON
	data       blob,
	not_before integer not null default 0,
	state      text not null default 'new',
	changed    integer not null,           -- when it got its state
	partition  integer,
	producer   text,
	seq        integer,
	turn       integer,
	error      text not null default ''
);
create index deed_outbox_new on deed_outbox (id) where state = 'new';
create index deed_outbox_stamped on deed_outbox (topic, partition, turn) where state = 'stamped';
create index deed_outbox_sent on deed_outbox (changed) where state = 'sent';
create index deed_outbox_refused on deed_outbox (id) where state = 'refused';
create table deed_outbox_turn (
	one  integer primary key check (one = 1),
	turn integer not null
);
insert into deed_outbox_turn (one, turn) values (1, 0)`}}

// Script returns the SQL that creates the outbox's tables in SQLite.
func Script() string { return sqldb.Script(component, migrations) }
