"""What Redis runs in one step: keys and arguments in, a conversation read, written or removed whole."""

from __future__ import annotations

FORMAT = "1"
"""The version of the keys below; a conversation of another is refused."""

LOAD = """
local head = redis.call('HMGET', KEYS[1], 'format', 'revision', 'messages', 'created', 'updated', 'state')
if redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then return false end
head[7] = redis.call('LRANGE', KEYS[2], 0, -1)
return head
"""

SAVE = """
local format, revision, kept, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local ttl, mark, state, metadata = tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8]
local head = redis.call('HMGET', KEYS[1], 'format', 'revision', 'messages', 'created', 'mark')
local held = redis.call('LLEN', KEYS[2])
local stored, count, created = 0, 0, now
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then
  if head[1] ~= format then return {'format', tonumber(head[1] or 0) or 0} end
  stored, count, created = tonumber(head[2] or ''), tonumber(head[3] or ''), head[4]
  if not stored or not created or count ~= held then return {'count', held} end
  if head[5] == mark then return {'saved', stored} end
end
if stored ~= revision then return {'busy', stored} end
if kept > held then return {'kept', held} end
local new = stored + 1
if stored == 0 then new = tonumber(redis.call('GET', KEYS[3]) or 0) + 1 end
-- First what needs memory: a server that has none left refuses the first write, and none that follows one.
redis.call('HSET', KEYS[1], 'format', format, 'revision', new, 'messages', kept + #ARGV - 8, 'created', created,
  'updated', now, 'mark', mark, 'state', state, 'metadata', metadata)
if kept == 0 then redis.call('DEL', KEYS[2]) elseif kept < held then redis.call('LTRIM', KEYS[2], 0, kept - 1) end
for place = 9, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[place]) end
redis.call('DEL', KEYS[3])
for place = 1, 2 do
  if ttl > 0 then redis.call('PEXPIRE', KEYS[place], ttl) else redis.call('PERSIST', KEYS[place]) end
end
return {'saved', new}
"""

DELETE = """
local revision = redis.pcall('HGET', KEYS[1], 'revision')
if redis.call('DEL', KEYS[1], KEYS[2]) == 0 then return 0 end
-- A month long an id goes on counting: who still holds the old conversation must not match a new one by chance.
if type(revision) == 'string' then redis.call('SET', KEYS[3], revision, 'EX', 2592000) end
return 1
"""

SWAP = """
local held = redis.call('GET', KEYS[1])
local noted = held and '=' .. held or '-'
if noted ~= ARGV[1] then return noted end
if ARGV[2] == '-' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], string.sub(ARGV[2], 2), 'PX', ARGV[3]) end
return ARGV[2]
"""

TIDY = """
local before = tonumber(ARGV[1])
for place = 2, #ARGV do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[place])
  if score and tonumber(score) < before then redis.call('ZREM', KEYS[1], ARGV[place]) end
end
"""
