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

-- Small documents. Each time that one is put it is another row, so that no version
-- comes twice.
create table deed_record (
	version integer primary key autoincrement,
	name    text    not null unique,
	data    blob    not null
);
`
