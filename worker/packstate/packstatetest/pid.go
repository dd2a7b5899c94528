package packstatetest

// PID is the server's process id, 0 while it is down: for measuring what it uses.
func (s *Server) PID() int {
	if s.cmd == nil || s.cmd.Process == nil {
		return 0
	}
	return s.cmd.Process.Pid
}
