-- Remove dead letters for good. ARGV: letter ids. Returns the ids of those that were there.
return exhume(1, #ARGV)
