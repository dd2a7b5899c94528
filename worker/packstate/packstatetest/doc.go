// Package packstatetest helps to test against the Redis projection: [Memory], the
// same rules in plain Go with faults in pairs; [Suite], the promises every store
// keeps; and [StartRedis], a real server as a child process. For tests and
// benchmarks only. A goroutine waits for each child process; it ends with it.
package packstatetest
