package inbox

import "github.com/deedgo/deed/sqldb"

const component = "inbox"

// Handled is in milliseconds since 1970. Run is 0 but for replays.
var migrations = map[sqldb.Dialect][]sqldb.Migration{
	sqldb.DialectSQLite: {{Name: "create deed_inbox", SQL: `
create table deed_inbox (
	group_name text not null,
	source     text not null,
	id         text not null,
	run        integer not null,
	topic      text not null,
	handled    integer not null,
	primary key (group_name, source, id, run)
) without rowid;
create index deed_inbox_handled on deed_inbox (handled)`}},

	sqldb.DialectPostgres: {{Name: "create deed_inbox", SQL: `
create table deed_inbox (
	group_name text not null,
	source     text not null,
	id         text not null,
	run        bigint not null,
	topic      text not null,
	handled    bigint not null,
	primary key (group_name, source, id, run)
);
create index deed_inbox_handled on deed_inbox (handled)`}},

	sqldb.DialectMySQL: {{Name: "create deed_inbox", SQL: `
create table if not exists deed_inbox (
	group_name varbinary(255) not null,
	source     varbinary(1000) not null,
	id         varbinary(1000) not null,
	run        bigint not null,
	topic      varbinary(255) not null,
	handled    bigint not null,
	primary key (group_name, source, id, run),
	index deed_inbox_handled (handled)
) engine = InnoDB row_format = dynamic;
`}},
}

// Script returns the SQL that creates the inbox's table in a database of the dialect.
func Script(d sqldb.Dialect) string { return d.Script(component, migrations[d]) }
