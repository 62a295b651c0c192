package batch

var Pause = pause

// Waiting is how many callers wait for a round trip to share.
func (g *Group[T]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue)
}
