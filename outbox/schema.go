package outbox

import "github.com/deedgo/deed/sqldb"

const component = "outbox"

// A row is new, then stamped (it has its place in a partition), then sent; or
// refused. Times are in milliseconds since 1970. Turn is the order of stamping,
// across producers, in which a partition's rows are sent.
var migrations = map[sqldb.Dialect][]sqldb.Migration{
	sqldb.DialectSQLite: {{Name: "create deed_outbox", SQL: `
create table deed_outbox (
	id           integer primary key autoincrement,
	topic        text not null,
	settings     text not null,              -- the topic as declared, JSON
	event_type   text not null,
	event_key    text not null,
	event        text not null,              -- attributes, CloudEvents JSON
	data         blob,
	not_before   integer not null default 0,
	state        text not null default 'new',
	changed      integer not null,           -- when it got its state
	partition_no integer,
	producer     text,
	seq          integer,
	turn         integer,
	error        text not null default ''
);
create index deed_outbox_new on deed_outbox (id) where state = 'new';
create index deed_outbox_stamped on deed_outbox (topic, partition_no, turn) where state = 'stamped';
create index deed_outbox_sent on deed_outbox (changed) where state = 'sent';
create index deed_outbox_refused on deed_outbox (id) where state = 'refused';
create table deed_outbox_turn (
	one      integer primary key check (one = 1),
	turn     integer not null,
	returned integer not null             -- how often stamped rows became new again
);
insert into deed_outbox_turn (one, turn, returned) values (1, 0, 0)`}},

	sqldb.DialectPostgres: {{Name: "create deed_outbox", SQL: `
create table deed_outbox (
	id           bigint generated always as identity primary key,
	topic        text not null,
	settings     text not null,              -- the topic as declared, JSON
	event_type   text not null,
	event_key    bytea not null,             -- a text of Postgres has no zero bytes
	event        text not null,              -- attributes, CloudEvents JSON
	data         bytea,
	not_before   bigint not null default 0,
	state        text not null default 'new',
	changed      bigint not null,            -- when it got its state
	partition_no integer,
	producer     text,
	seq          bigint,
	turn         bigint,
	error        text not null default ''
);
create index deed_outbox_new on deed_outbox (id) where state = 'new';
create index deed_outbox_stamped on deed_outbox (topic, partition_no, turn) where state = 'stamped';
create index deed_outbox_sent on deed_outbox (changed) where state = 'sent';
create index deed_outbox_refused on deed_outbox (id) where state = 'refused';
create table deed_outbox_turn (
	one      integer primary key check (one = 1),
	turn     bigint not null,
	returned bigint not null              -- how often stamped rows became new again
);
insert into deed_outbox_turn (one, turn, returned) values (1, 0, 0)`}},

	sqldb.DialectMySQL: {{Name: "create deed_outbox", SQL: `
create table if not exists deed_outbox (
	id           bigint not null auto_increment primary key,
	topic        varbinary(255) not null,
	settings     blob not null,              -- the topic as declared, JSON
	event_type   blob not null,
	event_key    blob not null,
	event        longblob not null,          -- attributes, CloudEvents JSON
	data         longblob,
	not_before   bigint not null default 0,
	state        varbinary(10) not null default 'new',
	changed      bigint not null,            -- when it got its state
	partition_no int,
	producer     varbinary(100),
	seq          bigint,
	turn         bigint,
	error        blob,
	index deed_outbox_state (state, id),
	index deed_outbox_stamped (state, topic, partition_no, turn),
	index deed_outbox_sent (state, changed)
) engine = InnoDB row_format = dynamic;
create table if not exists deed_outbox_turn (
	one      int not null primary key check (one = 1),
	turn     bigint not null,
	returned bigint not null              -- how often stamped rows became new again
) engine = InnoDB;
insert ignore into deed_outbox_turn (one, turn, returned) values (1, 0, 0);
`}},
}

// Script returns the SQL that creates the outbox's tables in a database of the dialect.
func Script(d sqldb.Dialect) string { return d.Script(component, migrations[d]) }
