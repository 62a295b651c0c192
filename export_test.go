package redsession

// ReadsCookie tells whether the value of a cookie is accepted as signed.
func (m *Manager) ReadsCookie(value string) bool {
	_, ok := m.transport.decode(value)
	return ok
}
