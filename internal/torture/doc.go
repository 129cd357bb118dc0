// Package torture runs real services on a real bus, hurts them at random, and
// proves from what they wrote down that no guarantee was broken.
//
// A run starts publishers and consumers as processes of their own, kills and
// freezes them by a schedule that follows from a seed, heals everything, drains,
// redrives the dead letters, and then checks the history: the operations that the
// processes recorded, the topic as it is read back, and the effects in the
// consumers' database. Each check is a pure function over a [History], tested on
// histories written by hand.
//
// Beside the faults a [Load] may ask for upkeep: dead letters redriven at a rate, a
// topic that is swept all the time, a group that is reset while its members run. What
// retention removed is known from what was delivered before.
//
// On a server, [Config].Network puts a proxy between each worker and it, whose faults
// cut, refuse, delay, hold and lose what is said; and the server itself is killed. What a
// server loses that it had acknowledged is tested by services with an outbox and an inbox.
//
// The tests run 15 s of faults, DEED_TORTURE=60s makes that a minute and
// DEED_TORTURE_SEED repeats a schedule. The command does the same without a test, on
// private servers of its own:
//
//	go run ./internal/torture/cmd/torture -engine all -for 60s -json out.json
//
// To add an engine, list it in [Engines] with a function that starts its server and gives
// [Config] its URL. To add a fault, write a [Nemesis] and list it in [AllFaults].
package torture
