package deedsql

import "github.com/deedgo/deed/sqldb"

// sqliteMigrations make the tables. Applied steps never change.
var sqliteMigrations = []sqldb.Migration{
	{Name: "topics", SQL: sqliteTopics},
	{Name: "groups", SQL: sqliteGroups},
	{Name: "side log", SQL: sqliteSideLog},
	{Name: "delay, retention, reset", SQL: sqliteTime},
	{Name: "delayed events in the log", SQL: sqliteDue},
	{Name: "streams, records", SQL: sqliteStreams},
	{Name: "handled", SQL: sqliteHandled},
}

const sqliteTopics = `
create table deed_topic (
	id           integer primary key autoincrement,
	name         text    not null unique,
	partitions   integer not null,
	partition_by text    not null,
	dedupe       integer not null, -- nanoseconds, as keep and hold
	keep         integer not null,
	hold         integer not null,
	generation   integer not null,
	incarnation  text    not null,
	created      integer not null
);

-- The last position of each partition. Whoever has the write lock may move it.
create table deed_head (
	topic_id  integer not null,
	partition integer not null,
	position  integer not null,
	stored_at integer not null,
	primary key (topic_id, partition)
) without rowid;

-- Events in the order of storing. Appending to the end of one table costs a third of
-- appending to the end of every partition.
create table deed_log (
	n    integer primary key,
	meta text not null, -- JSON: [kind, id, key, time in ns, {other attributes}]
	data blob
);

-- Where the events of a partition are: one row for each run of them that was stored
-- at once. Positions from position on are the rows of deed_log from n on.
create table deed_run (
	topic_id  integer not null,
	partition integer not null,
	position  integer not null,
	n         integer not null,
	count     integer not null,
	stored_at integer not null,
	primary key (topic_id, partition, position)
) without rowid;

-- What many events share.
create table deed_kind (
	kind         integer primary key,
	source       text    not null,
	type         text    not null,
	version      integer not null,
	content_type text    not null -- '' for JSON
);

-- The log for people. Kinds that deed_kind had no room for stand in meta.
create view deed_event as
	select t.name as topic, r.partition, r.position + l.n - r.n as position,
	       strftime('%Y-%m-%dT%H:%M:%fZ', r.stored_at / 1e9, 'unixepoch') as stored_at,
	       coalesce(k.source, l.meta ->> '$[0][0]') as source, l.meta ->> '$[1]' as id,
	       coalesce(k.type, l.meta ->> '$[0][1]') as type, coalesce(k.version, l.meta ->> '$[0][2]') as version,
	       l.meta ->> '$[2]' as key,
	       case json_type(l.meta, '$[3]')
	            when 'integer' then strftime('%Y-%m-%dT%H:%M:%fZ', (l.meta ->> '$[3]') / 1e9, 'unixepoch')
	            else l.meta ->> '$[3]' end as time,
	       coalesce(k.content_type, l.meta ->> '$[0][3]') as content_type, l.meta -> '$[4]' as attributes,
	       cast(l.data as text) as data
	from deed_run r cross join deed_topic t on t.id = r.topic_id
	join deed_log l on l.n >= r.n and l.n < r.n + r.count
	left join deed_kind k on k.kind = l.meta ->> '$[0]';

-- The last sequence number of each producer, by which its retries store nothing twice.
create table deed_producer (
	producer  text    not null,
	topic_id  integer not null,
	partition integer not null,
	last_seq  integer not null,
	at        integer not null,
	primary key (producer, topic_id, partition)
) without rowid;
create index deed_producer_at on deed_producer (at);

-- The id window. Its era is stored_at / window, so that what is over goes by eras.
create table deed_window (
	topic_id  integer not null,
	era       integer not null,
	source    text    not null,
	id        text    not null,
	stored_at integer not null,
	primary key (topic_id, era, source, id)
) without rowid;

-- Topics and groups that are deleted and whose rows still have to go.
create table deed_dropped (
	kind text    not null, -- topic or group
	id   integer not null,
	primary key (kind, id)
) without rowid;
`

const sqliteGroups = `
-- The largest epoch of any deleted group. Claims of a new group start above it, so
-- that a member of an old one of the same name cannot pass for their owner.
create table deed_epoch (
	floor integer not null
);
insert into deed_epoch (floor) values (0);

create table deed_group (
	id        integer primary key autoincrement,
	name      text    not null,
	topic_id  integer not null,
	created   integer not null,
	last_seen integer not null,
	paused    integer not null default 0,
	run       integer not null default 0,
	changes   integer not null default 0, -- counts joins, leaves and releases, for members to notice
	unique (name, topic_id)
);

-- A member is one connection of one process; its lease covers all of its seats.
create table deed_member (
	member  text    not null primary key, -- host/pid/random
	renewed integer not null,
	expires integer not null
) without rowid;

-- A seat is one subscription of a member.
create table deed_seat (
	seat     text    not null primary key, -- member/number
	member   text    not null,
	group_id integer not null
) without rowid;
create index deed_seat_group on deed_seat (group_id);

-- What a group has handled of each partition, and who may move it.
create table deed_claim (
	group_id  integer not null,
	partition integer not null,
	position  integer not null,
	epoch     integer not null default 0,
	seat      text    not null default '', -- '' after a clean release
	clean     integer not null default 1,  -- 0 while owned
	rate      real    not null default 0,
	status    text    not null default '',
	primary key (group_id, partition)
) without rowid;
`

const sqliteSideLog = `
-- Copies of events that failed, or that wait behind one of the same key.
create table deed_letter (
	letter     integer primary key autoincrement,
	group_id   integer not null,
	partition  integer not null,
	position   integer not null,
	run        integer not null,
	key        text    not null,
	state      text    not null, -- waiting, behind, dead, redriven
	aside      integer not null, -- 1: dead and holding nothing back
	due        integer not null,
	attempts   integer not null,
	crashes    integer not null,
	reason     text    not null,
	error      text    not null,
	stack      text    not null,
	failed_at  integer not null,
	replay     integer not null,
	stored_at  integer not null,
	id         text    not null,
	source     text    not null,
	type       text    not null,
	version    integer not null,
	time       integer,
	attributes text,
	data       blob,
	unique (group_id, partition, position, run)
);
create index deed_letter_key on deed_letter (group_id, partition, key, run, position);
create index deed_letter_state on deed_letter (group_id, partition, state);
create index deed_letter_due on deed_letter (group_id, partition, due) where state in ('waiting', 'redriven');
create index deed_letter_head on deed_letter (group_id, partition, key) where aside = 0 and state <> 'behind';

-- Trouble with events that are not in the side log.
create table deed_mark (
	group_id  integer not null,
	partition integer not null,
	position  integer not null,
	attempts  integer not null,
	crashes   integer not null,
	primary key (group_id, partition, position)
) without rowid;
`
