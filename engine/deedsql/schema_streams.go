package deedsql

// sqliteStreams adds topics of streams, and records.
const sqliteStreams = `
alter table deed_topic add column streams integer not null default 0;

-- Where the events of a stream are, by version; in the partition of the key.
create table deed_stream (
	topic_id integer not null,
	key      text    not null,
	version  integer not null,
	position integer not null,
	primary key (topic_id, key, version)
) without rowid;

-- Small documents, with versions that the counter gives: so none comes twice.
create table deed_record (
	name    text    not null primary key,
	version integer not null,
	data    blob    not null
) without rowid;

create table deed_counter (
	name text    not null primary key,
	last integer not null
) without rowid;
insert into deed_counter (name, last) values ('records', 0);
`
