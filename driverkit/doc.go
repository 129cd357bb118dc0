// Package driverkit holds what engines without a consumer-group protocol of their
// own share: the [Keeper] keeps a process's lease, divides partitions among the
// members of a group, and notices what was lost. The SQL and Redis engines use it
// over their own [Store]. Engines that push and forget share the [Listener].
package driverkit
