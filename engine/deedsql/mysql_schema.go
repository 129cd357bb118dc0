package deedsql

import (
	"strings"

	"github.com/deedgo/deed/sqldb"
)

// mysqlMigrations make the tables. Applied steps never change. A step that failed half
// way runs again, since MySQL cannot undo the making of a table.
var mysqlMigrations = []sqldb.Migration{
	{Name: "topics", SQL: quoted(mysqlTopics)},
	{Name: "groups", SQL: quoted(mysqlGroups)},
	{Name: "side log", SQL: quoted(mysqlSideLog)},
	{Name: "streams, records", SQL: quoted(mysqlStreams)},
	{Name: "handled", SQL: quoted(mysqlHandled)},
	{Name: "intake", SQL: quoted(mysqlIntake)},
}

// quoted puts the names that are words of MySQL's in its quotes, which text in Go's
// cannot hold.
func quoted(script string) string {
	return strings.NewReplacer("${key}", "`key`", "${partition}", "`partition`").Replace(script)
}

// Names and keys are bytes: what MySQL takes for equal otherwise, "a" and "A", or "a"
// and "a ", is not. What people write, and what errors say, is bytes too, since it may
// be no UTF-8.
const mysqlTopics = `
create table if not exists deed_topic (
	id           bigint          not null auto_increment primary key,
	name         varbinary(500)  not null unique,
	partitions   int             not null,
	partition_by varbinary(20)   not null,
	dedupe       bigint          not null comment 'nanoseconds, as keep and hold',
	keep         bigint          not null,
	hold         bigint          not null,
	max_bytes    bigint          not null comment 'of data, 0 for no bound',
	streams      int             not null default 0,
	generation   int             not null,
	incarnation  varbinary(100)  not null,
	created      bigint          not null comment 'nanoseconds since 1970, as all times'
) engine = InnoDB row_format = dynamic;

create table if not exists deed_generation (
	name       varbinary(500) not null primary key,
	generation int            not null
) engine = InnoDB row_format = dynamic comment 'the last generation of each deleted topic';

create table if not exists deed_head (
	topic_id    bigint not null,
	${partition} int   not null,
	position    bigint not null default 0 comment 'the last one; whoever has this row locked gives the next',
	stored_at   bigint not null default 0,
	removed     bigint not null default 0 comment 'positions up to here are gone',
	bytes       bigint not null default 0 comment 'of data in the log',
	removed_bytes bigint not null default 0 comment 'of data that is gone',
	scheduled   bigint not null default 0 comment 'rows of deed_due',
	due_bytes   bigint not null default 0,
	primary key (topic_id, ${partition})
) engine = InnoDB row_format = dynamic;

create table if not exists deed_log (
	topic_id    bigint   not null,
	${partition} int     not null,
	position    bigint   not null comment '1, 2, 3 in each partition',
	stored_at   bigint   not null,
	bytes       bigint   not null comment 'of data of the partition up to this event',
	meta        longtext character set utf8mb4 collate utf8mb4_bin not null
	            comment 'JSON: [kind, id, key, time in ns, {other attributes}]',
	data        longblob,
	primary key (topic_id, ${partition}, position)
) engine = InnoDB row_format = dynamic;

create table if not exists deed_kind (
	kind         bigint   not null auto_increment primary key,
	source       longblob not null,
	type         longblob not null,
	version      int      not null,
	content_type longblob not null comment 'empty for JSON'
) engine = InnoDB row_format = dynamic comment 'what many events share';

create table if not exists deed_due (
	accepted    bigint   not null auto_increment primary key comment 'in this order',
	topic_id    bigint   not null,
	due         bigint   not null,
	${partition} int     not null,
	accepted_at bigint   not null,
	meta        longtext character set utf8mb4 collate utf8mb4_bin not null comment 'as in deed_log',
	data        longblob,
	key deed_due_time (topic_id, due, accepted)
) engine = InnoDB row_format = dynamic comment 'delayed events, which get a position when they are due';

create or replace view deed_event as
	select convert(t.name using utf8mb4) as topic, l.${partition}, l.position,
	       timestampadd(microsecond, l.stored_at div 1000, '1970-01-01 00:00:00.000000') as stored_at,
	       coalesce(convert(k.source using utf8mb4), json_value(l.meta, '$[0][0]')) as source,
	       json_value(l.meta, '$[1]') as id,
	       coalesce(convert(k.type using utf8mb4), json_value(l.meta, '$[0][1]')) as type,
	       coalesce(k.version, json_value(l.meta, '$[0][2]')) as version,
	       json_value(l.meta, '$[2]') as ${key},
	       case when json_value(l.meta, '$[3]') regexp '^-?[0-9]+$'
	            then timestampadd(microsecond, json_value(l.meta, '$[3]') div 1000, '1970-01-01 00:00:00.000000')
	            else json_value(l.meta, '$[3]') end as time,
	       coalesce(convert(k.content_type using utf8mb4), json_value(l.meta, '$[0][3]')) as content_type,
	       json_extract(l.meta, '$[4]') as attributes, convert(l.data using utf8mb4) as data
	from deed_log l join deed_topic t on t.id = l.topic_id
	left join deed_kind k on k.kind = json_value(l.meta, '$[0]');

create or replace view deed_scheduled as
	select convert(t.name using utf8mb4) as topic, d.${partition},
	       timestampadd(microsecond, d.due div 1000, '1970-01-01 00:00:00.000000') as due,
	       timestampadd(microsecond, d.accepted_at div 1000, '1970-01-01 00:00:00.000000') as accepted_at,
	       coalesce(convert(k.source using utf8mb4), json_value(d.meta, '$[0][0]')) as source,
	       json_value(d.meta, '$[1]') as id,
	       coalesce(convert(k.type using utf8mb4), json_value(d.meta, '$[0][1]')) as type,
	       json_value(d.meta, '$[2]') as ${key}, convert(d.data using utf8mb4) as data
	from deed_due d join deed_topic t on t.id = d.topic_id
	left join deed_kind k on k.kind = json_value(d.meta, '$[0]');

create table if not exists deed_producer (
	producer    varbinary(500) not null,
	topic_id    bigint         not null,
	${partition} int           not null,
	last_seq    bigint         not null comment 'by which retries store nothing twice',
	at          bigint         not null,
	primary key (producer, topic_id, ${partition}),
	key deed_producer_at (at),
	key deed_producer_topic (topic_id)
) engine = InnoDB row_format = dynamic;

create table if not exists deed_window (
	topic_id  bigint          not null,
	era       bigint          not null comment 'stored_at / window, so that what is over goes by eras',
	source    varbinary(1000) not null,
	id        varbinary(1000) not null,
	stored_at bigint          not null,
	primary key (topic_id, era, source, id)
) engine = InnoDB row_format = dynamic comment 'the id window';

create table if not exists deed_dropped (
	kind varbinary(20) not null comment 'topic or group',
	id   bigint        not null,
	primary key (kind, id)
) engine = InnoDB row_format = dynamic comment 'topics and groups that are deleted and whose rows still have to go';

create table if not exists deed_lock (
	name varbinary(20) not null primary key
) engine = InnoDB row_format = dynamic comment 'rows to be locked';

insert ignore into deed_lock (name) values ('topics'), ('sweep');
`

const mysqlGroups = `
create table if not exists deed_epoch (
	one   int    not null primary key,
	floor bigint not null comment 'the largest epoch of any deleted group: claims of a new one start above it'
) engine = InnoDB row_format = dynamic;

insert ignore into deed_epoch (one, floor) values (1, 0);

create table if not exists deed_group (
	id        bigint         not null auto_increment primary key,
	name      varbinary(500) not null,
	topic_id  bigint         not null,
	created   bigint         not null,
	last_seen bigint         not null,
	paused    int            not null default 0,
	run       int            not null default 0,
	changes   bigint         not null default 0 comment 'counts joins, leaves and releases, for members to notice',
	quiet     int            not null default 0 comment 'the last reset was',
	unsafe    longblob       not null default ('[]') comment 'JSON array of types, as last declared',
	unique key deed_group_name (name, topic_id),
	key deed_group_topic (topic_id)
) engine = InnoDB row_format = dynamic;

create table if not exists deed_member (
	member  varbinary(600) not null primary key comment 'host/pid/random: one connection of one process',
	renewed bigint         not null,
	expires bigint         not null comment 'the lease, which covers all of its seats'
) engine = InnoDB row_format = dynamic;

create table if not exists deed_seat (
	seat     varbinary(620) not null primary key comment 'member/number: one subscription of a member',
	member   varbinary(600) not null,
	group_id bigint         not null,
	unsafe   longblob       not null default ('[]'),
	key deed_seat_group (group_id),
	key deed_seat_member (member)
) engine = InnoDB row_format = dynamic;

create table if not exists deed_claim (
	group_id    bigint         not null,
	${partition} int           not null,
	position    bigint         not null comment 'what the group has handled',
	epoch       bigint         not null default 0,
	seat        varbinary(620) not null default '' comment 'who may move it, nobody after a clean release',
	clean       int            not null default 1 comment '0 while owned',
	rate        double         not null default 0,
	status      longblob       not null default (''),
	committed   bigint         not null default 0 comment 'highest position that was settled',
	replay      bigint         not null default 0 comment 'committed at the last reset',
	dropped     bigint         not null default 0 comment 'events that hold removed unhandled',
	primary key (group_id, ${partition})
) engine = InnoDB row_format = dynamic;
`

const mysqlSideLog = `
create table if not exists deed_letter (
	letter      bigint          not null auto_increment primary key,
	group_id    bigint          not null,
	${partition} int            not null,
	position    bigint          not null,
	run         int             not null,
	${key}       varbinary(2000) not null,
	state       varbinary(20)   not null comment 'waiting, behind, dead, redriven',
	aside       int             not null comment '1: dead and holding nothing back',
	due         bigint          not null,
	attempts    int             not null,
	crashes     int             not null,
	reason      longblob        not null,
	error       longblob        not null,
	stack       longblob        not null,
	failed_at   bigint          not null,
	replay      int             not null,
	stored_at   bigint          not null,
	id          longblob        not null,
	source      longblob        not null,
	type        longblob        not null,
	version     int             not null,
	time        varbinary(100) comment 'nanoseconds, or RFC 3339 for the years they do not reach',
	attributes  longblob,
	data        longblob,
	edits       longblob        not null default ('[]') comment 'JSON array',
	unique key deed_letter_event (group_id, ${partition}, position, run),
	key deed_letter_key (group_id, ${partition}, ${key}, run, position),
	key deed_letter_state (group_id, ${partition}, state, due)
) engine = InnoDB row_format = dynamic comment 'copies of events that failed, or that wait behind one of the same key';

create table if not exists deed_mark (
	group_id    bigint not null,
	${partition} int   not null,
	position    bigint not null,
	attempts    int    not null,
	crashes     int    not null,
	primary key (group_id, ${partition}, position)
) engine = InnoDB row_format = dynamic comment 'trouble with events that are not in the side log';
`

const mysqlStreams = `
create table if not exists deed_stream (
	topic_id bigint          not null,
	${key}    varbinary(2000) not null,
	version  bigint          not null,
	position bigint          not null,
	primary key (topic_id, ${key}, version)
) engine = InnoDB row_format = dynamic comment 'where the events of a stream are, in the partition of its key';

create table if not exists deed_record (
	name    varbinary(255) not null primary key,
	version bigint         not null,
	data    longblob       not null
) engine = InnoDB row_format = dynamic comment 'small documents';

create table if not exists deed_counter (
	name varbinary(20) not null primary key,
	last bigint        not null
) engine = InnoDB row_format = dynamic comment 'gives versions, so that none comes twice';

insert ignore into deed_counter (name, last) values ('records', 0);
`
