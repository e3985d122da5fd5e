# What ruby's pg does with a session, and what an ORM on top of it does: settings at connect, prepared statements a1, a2 ..., savepoints.

require 'pg'

PARAMETERS = {
  host: ENV['PGHOST'], port: ENV['PGPORT'], user: ENV['PGUSER'], password: ENV['PGPASSWORD'], dbname: ENV['PGDATABASE'],
  sslmode: 'verify-full', sslrootcert: ENV['PGSSLROOTCERT'],
}.freeze

def connect
  connection = PG.connect(PARAMETERS)
  # An ORM says these on every new connection.
  connection.exec('SET client_min_messages TO warning')
  connection.exec('SET standard_conforming_strings = on')
  connection.exec('SET SESSION timezone TO \'UTC\'')
  connection.exec('SET intervalstyle = iso_8601')
  yield connection
ensure
  connection&.close
end

def same(expected, seen)
  raise "expected #{expected.inspect}, seen #{seen.inspect}" unless expected == seen
end

def refused(kind)
  yield
rescue kind
  nil
else
  raise "not refused as #{kind}"
end

# Statements by text, named a1, a2 ..., forgotten oldest first, prepared again when their plan has changed.
class Statements
  def initialize(connection, most)
    @connection, @most, @names, @count = connection, most, {}, 0
  end

  def exec(sql, values)
    @connection.exec_prepared(name_of(sql), values)
  rescue PG::FeatureNotSupported
    @connection.exec("DEALLOCATE #{@names.delete(sql)}")
    retry
  end

  def name_of(sql)
    @names.fetch(sql) do
      @connection.exec("DEALLOCATE #{@names.shift[1]}") if @names.size >= @most
      @connection.prepare(name = "a#{@count += 1}", sql)
      @names[sql] = name
    end
  end
end

CHECKS = {
  values: lambda {
    connect do |c|
      row = c.exec_params('SELECT $1::int, $2::text, $3::bytea, NULL, $4::int[]', [42, 'ä€😀', { value: "\0\1\xff".b, format: 1 }, '{1,2}'])
      same(['42', 'ä€😀', '\\x0001ff', nil, '{1,2}'], row.values[0])
      same([7, 'x', true, 1.5], c.exec("SELECT 7, 'x', true, 1.5::float8").map_types!(PG::BasicTypeMapForResults.new(c)).values[0])
    end
  },
  transactions: lambda {
    connect do |c|
      c.transaction do
        c.exec('UPDATE ruby_account SET balance = balance - 10 WHERE id = 1')
        c.exec('UPDATE ruby_account SET balance = balance + 10 WHERE id = 2')
        c.exec('SAVEPOINT active_record_1')
        refused(PG::UniqueViolation) { c.exec('INSERT INTO ruby_account VALUES (1, 0)') }
        c.exec('ROLLBACK TO SAVEPOINT active_record_1')
        c.exec('RELEASE SAVEPOINT active_record_1')
      end
      refused(RuntimeError) { c.transaction { c.exec('DELETE FROM ruby_account'); raise 'back' } }
      same('1000', c.exec('SELECT sum(balance) FROM ruby_account').getvalue(0, 0))
      c.exec('BEGIN')
      refused(PG::DivisionByZero) { c.exec('SELECT 1/0') }
      refused(PG::InFailedSqlTransaction) { c.exec('SELECT 1') }
      c.exec('ROLLBACK')
      same(PG::PQTRANS_IDLE, c.transaction_status)
    end
  },
  statements: lambda {
    connect do |c|
      statements = Statements.new(c, 5)
      60.times { |n| same((n % 9 + n).to_s, statements.exec("SELECT $1::int + #{n % 9}", [n]).getvalue(0, 0)) }
      4.times do |n|
        same(2 + n, statements.exec('SELECT * FROM ruby_account WHERE id = $1', [1]).nfields)
        connect { |other| other.exec("ALTER TABLE ruby_account ADD COLUMN more_#{n} int") }
      end
      refused(PG::InvalidSqlStatementName) { c.exec_prepared('nobodys', []) }
      same('int4', c.exec("SELECT format_type(#{c.describe_prepared(statements.name_of('SELECT $1::int + 1')).paramtype(0)}, NULL)").getvalue(0, 0).sub('integer', 'int4'))
    end
  },
  settings: lambda {
    threads = (0...8).map do |number|
      Thread.new do
        connect do |c|
          c.exec("SET application_name = 'thread #{number}'")
          c.exec("SET search_path TO own_#{number}, public")
          20.times do |n|
            same("thread #{number}", c.parameter_status('application_name'))
            same("own_#{number}, public", c.exec_params('SELECT current_setting($1)', ['search_path']).getvalue(0, 0))
            same('iso_8601', c.exec('SHOW intervalstyle').getvalue(0, 0))
            c.transaction { c.exec("SET LOCAL search_path TO nowhere, x#{n}") } if (n % 3).zero?
          end
        end
      end
    end
    threads.each(&:value)
  },
  copies: lambda {
    connect do |c|
      lines = (0...2000).map { |n| "#{n}\t#{'ä' * (n % 30)}\n" }
      c.copy_data('COPY ruby_copy FROM STDIN') { lines.each { |line| c.put_copy_data(line) } }
      back = []
      c.copy_data('COPY (SELECT * FROM ruby_copy ORDER BY n) TO STDOUT') { while (line = c.get_copy_data) do back << line.force_encoding('UTF-8') end }
      same(lines, back)
      refused(PG::InvalidTextRepresentation) { c.copy_data('COPY ruby_copy FROM STDIN') { c.put_copy_data("x\ty\n") } }
      same('1', c.exec('SELECT 1').getvalue(0, 0))
    end
  },
  rows_one_by_one: lambda {
    connect do |c|
      c.send_query('SELECT n FROM generate_series(1, 5000) n')
      c.set_single_row_mode
      count = 0
      c.get_result.stream_each { count += 1 }
      c.get_result
      same(5000, count)
    end
  },
  pipelines: lambda {
    connect do |c|
      c.enter_pipeline_mode
      50.times { |n| c.send_query_params('SELECT $1::int', [n]) }
      c.pipeline_sync
      50.times { |n| same(n.to_s, c.get_result.getvalue(0, 0)); c.get_result }
      same(PG::PGRES_PIPELINE_SYNC, c.get_result.result_status)
      c.exit_pipeline_mode
    end
  },
  notifications: lambda {
    connect do |c|
      c.exec('LISTEN ruby_channel')
      connect { |other| other.exec_params("SELECT pg_notify('ruby_channel', $1)", ['from another']) }
      seen = nil
      c.wait_for_notify(20) { |_, _, payload| seen = payload }
      same('from another', seen)
      c.exec('UNLISTEN *')
    end
  },
  advisory_lock_of_migrations: lambda {
    connect do |c|
      same('t', c.exec('SELECT pg_try_advisory_lock(4242424242)').getvalue(0, 0))
      connect { |other| same('f', other.exec('SELECT pg_try_advisory_lock(4242424242)').getvalue(0, 0)) }
      same('t', c.exec('SELECT pg_advisory_unlock(4242424242)').getvalue(0, 0))
    end
  },
  cancelling: lambda {
    connect do |c|
      c.send_query('SELECT pg_sleep(60)')
      sleep 0.3
      same(nil, c.cancel)
      refused(PG::QueryCanceled) { c.get_last_result }
      same('1', c.exec('SELECT 1').getvalue(0, 0))
    end
  },
  reset: lambda {
    connect do |c|
      name = c.parameter_status('application_name')
      c.exec("SET application_name = 'before'")
      c.exec('DISCARD ALL')
      same(name, c.exec('SHOW application_name').getvalue(0, 0))
      c.reset
      same('1', c.exec('SELECT 1').getvalue(0, 0))
    end
  },
}.freeze

connect do |c|
  c.exec('DROP TABLE IF EXISTS ruby_account, ruby_copy')
  c.exec('CREATE TABLE ruby_account (id int PRIMARY KEY, balance int NOT NULL)')
  c.exec('INSERT INTO ruby_account SELECT n, 100 FROM generate_series(1, 10) n')
  c.exec('CREATE TABLE ruby_copy (n int, t text)')
end
bad = CHECKS.count do |name, check|
  check.call
  false
rescue StandardError => e
  puts "FAILED #{name}: #{e.full_message(highlight: false)}"
  true
end
connect { |c| c.exec('DROP TABLE ruby_account, ruby_copy') }
puts "#{CHECKS.size - bad} of #{CHECKS.size} checks held"
exit(bad.zero?)
