package lane

// Failed reports whether the entry is known not to be stored, without waiting: Wait would
// return an error at once. An owner that numbers its entries asks it of the one before,
// so that the numbers of entries that were refused are given again. The zero Ticket has
// not failed.
func (t Ticket) Failed() bool {
	if t.out == nil {
		return false
	}
	select {
	case <-t.out.done:
		return t.out.err != nil
	default:
		return false
	}
}
