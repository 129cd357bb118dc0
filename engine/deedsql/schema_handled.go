package deedsql

// Events whose handlers settled them in their own transactions and that may come again:
// those that the low watermark has not passed, or that are in the side log. Run is 0, but
// for a replay whose effect is to happen again.
const (
	sqliteHandled = `
create table deed_handled (
	group_id  integer not null,
	partition integer not null,
	position  integer not null,
	run       integer not null,
	primary key (group_id, partition, position, run)
) without rowid;
`
	postgresHandled = `
create table deed_handled (
	group_id  bigint  not null,
	partition integer not null,
	position  bigint  not null,
	run       integer not null,
	primary key (group_id, partition, position, run)
);
`
	mysqlHandled = `
create table if not exists deed_handled (
	group_id    bigint not null,
	${partition} int   not null,
	position    bigint not null,
	run         int    not null,
	primary key (group_id, ${partition}, position, run)
) engine = InnoDB row_format = dynamic comment 'events that handlers settled and that may come again';
`
)
