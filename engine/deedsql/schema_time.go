package deedsql

// sqliteTime adds what delay, retention and reset need.
const sqliteTime = `
alter table deed_topic add column max_bytes integer not null default 0; -- of data, 0 for no bound

-- The last generation of each deleted topic, so that the next one of the name differs.
create table deed_generation (
	name       text    not null primary key,
	generation integer not null
) without rowid;

alter table deed_head add column removed   integer not null default 0; -- positions up to here are gone
alter table deed_head add column bytes     integer not null default 0; -- of data in the log
alter table deed_head add column scheduled integer not null default 0; -- rows of deed_due, and their data
alter table deed_head add column due_bytes integer not null default 0;
update deed_head set bytes = (select coalesce(sum(length(l.data)), 0) from deed_run r
	join deed_log l on l.n >= r.n and l.n < r.n + r.count
	where r.topic_id = deed_head.topic_id and r.partition = deed_head.partition);

-- Delayed events. They get a position when they are due.
create table deed_due (
	accepted    integer primary key autoincrement, -- in this order
	topic_id    integer not null,
	due         integer not null,
	partition   integer not null,
	accepted_at integer not null,
	meta        text    not null, -- as in deed_log
	data        blob
);
create index deed_due_time on deed_due (topic_id, due, accepted);

create view deed_scheduled as
	select t.name as topic, d.partition, strftime('%Y-%m-%dT%H:%M:%fZ', d.due / 1e9, 'unixepoch') as due,
	       strftime('%Y-%m-%dT%H:%M:%fZ', d.accepted_at / 1e9, 'unixepoch') as accepted_at,
	       coalesce(k.source, d.meta ->> '$[0][0]') as source, d.meta ->> '$[1]' as id,
	       coalesce(k.type, d.meta ->> '$[0][1]') as type, d.meta ->> '$[2]' as key,
	       cast(d.data as text) as data
	from deed_due d join deed_topic t on t.id = d.topic_id
	left join deed_kind k on k.kind = d.meta ->> '$[0]';

create index deed_group_topic on deed_group (topic_id);
alter table deed_group add column quiet  integer not null default 0;  -- the last reset was
alter table deed_group add column unsafe text    not null default '[]'; -- JSON array of types, as last declared
alter table deed_seat  add column unsafe text    not null default '[]';

alter table deed_claim add column committed integer not null default 0; -- highest position that was settled
alter table deed_claim add column replay    integer not null default 0; -- committed at the last reset
alter table deed_claim add column dropped   integer not null default 0; -- events that hold removed unhandled
update deed_claim set committed = position;

alter table deed_letter add column edits text not null default '[]'; -- JSON array
`

// sqliteDue puts delayed events into the log at once. Taken out of a table of their own
// when they are due, in another order than they came in, each would change a page.
const sqliteDue = `
drop view deed_scheduled;
drop index deed_due_time;
alter table deed_due rename to deed_due_before;

-- Delayed events, rows of deed_log that are in no run. They get a position when they are due.
create table deed_due (
	topic_id    integer not null,
	due         integer not null,
	n           integer not null, -- of deed_log, in the order of acceptance
	partition   integer not null,
	accepted_at integer not null,
	bytes       integer not null, -- of data
	primary key (topic_id, due, n)
) without rowid;

insert into deed_due (topic_id, due, n, partition, accepted_at, bytes)
	select topic_id, due, (select coalesce(max(n), 0) from deed_log) + row_number() over (order by accepted),
	       partition, accepted_at, coalesce(length(data), 0)
	from deed_due_before;
insert into deed_log (n, meta, data)
	select (select coalesce(max(n), 0) from deed_log) + row_number() over (order by accepted), meta, data
	from deed_due_before order by accepted;
drop table deed_due_before;

create view deed_scheduled as
	select t.name as topic, d.partition, strftime('%Y-%m-%dT%H:%M:%fZ', d.due / 1e9, 'unixepoch') as due,
	       strftime('%Y-%m-%dT%H:%M:%fZ', d.accepted_at / 1e9, 'unixepoch') as accepted_at,
	       coalesce(k.source, l.meta ->> '$[0][0]') as source, l.meta ->> '$[1]' as id,
	       coalesce(k.type, l.meta ->> '$[0][1]') as type, l.meta ->> '$[2]' as key,
	       cast(l.data as text) as data
	from deed_due d join deed_topic t on t.id = d.topic_id join deed_log l on l.n = d.n
	left join deed_kind k on k.kind = l.meta ->> '$[0]';
`
