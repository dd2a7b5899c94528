package queuetest

// PID is the server's process id, 0 while it is down: for measuring what it uses.
func (p *Process) PID() int {
	if p.cmd == nil || p.cmd.Process == nil {
		return 0
	}
	return p.cmd.Process.Pid
}
