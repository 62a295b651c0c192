package binding_test

import "context"

func (s *site) context() context.Context { return context.Background() }
